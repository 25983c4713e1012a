"""Pretraining of tiny base models, the embedded one first, on questions and answers about invented worlds.

The result is a function of seed, settings, number of threads and kind of CPU. Every batch is a function of
its step, so that a run continued from its last state ends with the same bits as one never interrupted.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

from orchestrator.contracts import InputError, digest
from workers.models.pretraining_batches import BatchSource, TextBatch
from workers.models.pretraining_card import PretrainingReport, write_card
from workers.models.pretraining_model import Reading, answer_quality, build_model
from workers.models.pretraining_settings import Architecture, PretrainingSettings
from workers.models.pretraining_state import Progress, restore_state, save_state
from workers.models.tokenizer import train_tokenizer
from workers.worlds import PretrainingCorpus, pretraining_corpus

__all__ = ["LOG_NAME", "STATE_NAME", "PretrainingSettings", "learning_rate_at", "pretrain"]

STATE_NAME = "pretraining.state.safetensors"
LOG_NAME = "pretraining.log"

_PROBES = 256
"""Known facts, and examples with fresh entities, that recall and guessing are measured on."""


def pretrain(
    out_dir: str | Path,
    *,
    seed: int = 0,
    settings: PretrainingSettings | None = None,
    log: Callable[[str], None] | None = None,
) -> PretrainingReport:
    """Pretrain a tiny base model, or continue where an interrupted run left off.

    Args:
        out_dir: Folder for model, tokenizer, card and log; made if missing.
        seed: Of text, order and initial weights.
        settings: Architecture and sizes among them; None: those of the shipped model.
        log: Is given each line of the log as it is written.

    Returns:
        What was made, as the card says it.

    Raises:
        InputError: The folder holds a finished model or another run's state, or can't be written.
    """
    settings = settings or PretrainingSettings()
    out = Path(out_dir)
    if (out / "model.safetensors").exists() and not (out / STATE_NAME).exists():
        raise InputError(f"{out} already holds a model; choose another folder, or move it away")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out} can't be made: {error.strerror}") from error
    threads = torch.get_num_threads()
    torch.set_num_threads(settings.threads)
    try:
        run = _Run(out, seed, settings, log)
        run.train()
        return run.export()
    finally:
        torch.set_num_threads(threads)


def learning_rate_at(step: int, settings: PretrainingSettings) -> float:
    """Return the learning rate of a step, counted from 0."""
    warmup = min(1.0, (step + 1) / settings.warmup_steps)
    falling = max(0, step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    return settings.learning_rate * warmup * (0.55 + 0.45 * math.cos(math.pi * falling))


class _Run:
    """One pretraining run: lives as long as its call; its state file outlives it until the export."""

    def __init__(
        self, out: Path, seed: int, settings: PretrainingSettings, log: Callable[[str], None] | None
    ) -> None:
        self._out, self._seed, self._settings, self._emit = out, seed, settings, log
        self._corpus: PretrainingCorpus = pretraining_corpus(seed=seed, mix=settings.mix)
        self._tokenizer = train_tokenizer(
            seed=seed,
            lines=settings.tokenizer_lines,
            prefix_space=settings.architecture == Architecture.T5,
        )
        self._model = build_model(self._tokenizer, seed, settings)
        matrices = [weight for weight in self._model.parameters() if weight.ndim > 1]
        vectors = [weight for weight in self._model.parameters() if weight.ndim < 2]
        groups = [
            {"params": matrices, "weight_decay": settings.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        self._optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.95))
        self._reading = Reading(self._model, self._tokenizer)
        self._batches = BatchSource(
            self._corpus,
            self._reading.encode,
            partial(self._reading.pad, prompt_weight=settings.prompt_weight),
            examples_per_step=settings.examples_per_step,
        )
        vocabulary = self._tokenizer.backend_tokenizer.to_str()
        self._identity = digest([seed, asdict(settings), vocabulary])
        progress = restore_state(out / STATE_NAME, self._model, self._optimizer, identity=self._identity)
        self._step, self._cpu_before_s = progress.step, progress.cpu_s
        self._started_s = time.process_time()
        self._entries = list(progress.entries)
        self._tokens = int(self._entries[-1]["tokens"]) if self._entries else 0

    def train(self) -> None:
        """Train from the step restored to the last."""
        settings = self._settings
        self._model.train()
        losses: list[float] = []
        while self._step < settings.steps:
            for group in self._optimizer.param_groups:
                group["lr"] = learning_rate_at(self._step, settings)
            batch = self._batches.batch(self._step)
            losses.append(self._train_on(batch))
            self._tokens += batch.tokens
            self._step += 1
            last = self._step == settings.steps
            due = last or self._step % settings.state_every == 0
            if due or self._step % settings.log_every == 0:
                self._note(sum(losses) / len(losses), measure=due)
                losses = []
            if due:
                self._keep()

    def _train_on(self, batch: TextBatch) -> float:
        """Take one optimiser step and return the weighted mean loss in nats per token."""
        counted = batch.weights > 0
        weights = batch.weights[counted]
        logits = self._reading.counted_logits(batch)
        losses = cross_entropy(logits, batch.targets[counted], reduction="none")
        loss = (losses * weights).sum() / weights.sum()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own method has no types
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), self._settings.max_grad_norm)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return loss.item()

    def _note(self, loss: float, *, measure: bool) -> None:
        """Add a line to the log; with recall of known facts and guesses on fresh entities if measured."""
        entry: dict[str, float] = {
            "step": self._step,
            "tokens": self._tokens,
            "cpu_s": round(self._cpu_s(), 1),
            "learning_rate": learning_rate_at(self._step - 1, self._settings),
            "train_loss": round(loss, 4),
        }
        if measure:
            known = self._corpus.known_examples(wording=self._step)
            every = max(1, len(known) // _PROBES)
            fresh = pretraining_corpus(
                seed=self._seed, mix=replace(self._settings.mix, fresh=1.0, in_context=0.0, copied=0.0)
            )
            self._model.train(False)
            for name, examples in (("known", known[::every]), ("fresh", fresh.examples(-1, _PROBES))):
                eval_loss, exact = answer_quality(self._model, self._tokenizer, examples)
                entry |= {f"{name}_loss": round(eval_loss, 4), f"{name}_exact_match": round(exact, 4)}
            self._model.train()
        self._entries.append(entry)
        if self._emit is not None:
            self._emit(json.dumps(entry))

    def _keep(self) -> None:
        """Write the state, which holds the log, and then the log for people to read."""
        progress = Progress(step=self._step, cpu_s=self._cpu_s(), entries=tuple(self._entries))
        state = self._out / STATE_NAME
        save_state(state, self._model, self._optimizer, progress=progress, identity=self._identity)
        self._write_log()

    def _write_log(self) -> None:
        text = "".join(json.dumps(entry) + "\n" for entry in self._entries)
        (self._out / LOG_NAME).write_text(text, encoding="utf-8")

    def _cpu_s(self) -> float:
        return self._cpu_before_s + time.process_time() - self._started_s

    def export(self) -> PretrainingReport:
        """Save model, tokenizer and card, and remove the state."""
        self._model.train(False)
        self._model.to(torch.bfloat16)  # type: ignore[arg-type]  # transformers wraps and mistypes it
        self._write_log()
        self._tokenizer.save_pretrained(self._out)
        report = PretrainingReport(
            seed=self._seed,
            settings=asdict(self._settings),
            parameters=self._model.num_parameters(),
            cpu_s=self._cpu_s(),
            last_entry=self._entries[-1],
        )
        self._model.save_pretrained(self._out, safe_serialization=True)
        write_card(self._out, report)
        (self._out / STATE_NAME).unlink()
        return report
