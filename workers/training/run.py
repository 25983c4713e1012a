"""One trial in training: trained weights, optimizer, place in the example stream, curve."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from orchestrator.contracts import CurvePoint, OrchestrationError, Trial
from workers.models.base import BaseModel
from workers.training.adapters import Adapted, add_adapter
from workers.training.batches import Batch, split_by_tokens
from workers.training.checkpoints import Checkpoint
from workers.training.encoding import EncodedExample, EncodedTask
from workers.training.forward import make_batch, target_logits, target_losses
from workers.training.hyperparameters import Hyperparameters
from workers.training.noise import EmbeddingNoise
from workers.training.objective import total_weight, weighted_objective
from workers.training.optimizers import (
    build_optimizer,
    export_state,
    import_state,
    set_learning_rate,
    undecayed_names,
)
from workers.training.schedules import learning_rate_factor, warmup_length
from workers.training.selection import hardest
from workers.training.stream import ExampleStream

MICRO_BATCH_TOKENS = 4096
"""Padded tokens that go through the model at once, unless more or fewer are asked for; a larger batch is
accumulated. It bounds memory and changes a trial's numbers by round-off and the dropout's masks."""


class DivergedError(OrchestrationError):
    """A loss or gradient is not finite, or a loss beyond its bound; the trial's outcome is ``diverged``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochTraining:
    """What one epoch of training came to."""

    answer_nats: float
    """Sum of the cross-entropies of all answer tokens, each before the step it took part in."""
    answer_tokens: int

    @property
    def loss(self) -> float:
        """Mean nats per answer token."""
        return self.answer_nats / self.answer_tokens


class TrialRun:
    """The state of one trial between two optimizer steps.

    Made by a trainer for one attempt, and dropped with it; ``checkpoint`` takes out what survives,
    ``restore`` puts it back, and the steps after that are bit for bit those of a run never interrupted.

    Args:
        trial: What is trained.
        hyper: Its config, read.
        base: The shared base model; it is not changed.
        task: The trial's task, by the base model's tokenizer.
        micro_batch_tokens: Padded tokens that go through the model at once.
    """

    def __init__(
        self,
        trial: Trial,
        hyper: Hyperparameters,
        base: BaseModel,
        task: EncodedTask,
        *,
        micro_batch_tokens: int = MICRO_BATCH_TOKENS,
    ) -> None:
        self.trial = trial
        self.adapted: Adapted = add_adapter(base, hyper, trial.trial_id, task.train)
        self.curve: list[CurvePoint] = []
        self.step = 0
        self.tokens = 0
        self._hyper = hyper
        self._task = task
        self._device = base.device
        self._micro_batch_tokens = micro_batch_tokens
        self._weights = list(self.adapted.parameters.values())
        self._optimizer = build_optimizer(
            self.adapted.parameters,
            hyper,
            undecayed=undecayed_names(self.adapted.model, self.adapted.parameters),
        )
        self._noise = EmbeddingNoise(self.adapted.model, trial.trial_id, hyper.neftune_noise_alpha)
        self._max_grad_norm = hyper.max_grad_norm or trial.settings.max_grad_norm
        self._stream = ExampleStream(task.facts, trial.trial_id, trial.settings.examples_per_epoch)
        self._lengths = [len(example.tokens) for example in task.train]
        self._total = trial.settings.horizon_epochs * self._stream.steps_per_epoch(hyper.batch_size)
        self._warmup = warmup_length(hyper.warmup_steps, self._total)

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.curve)

    def train_epoch(self, beat: Callable[[], None] = lambda: None) -> EpochTraining:
        """Train the next epoch.

        Args:
            beat: Called after every optimizer step.

        Returns:
            Its training loss, over the answer tokens trained on. A loss or gradient that is not finite ends
            the epoch with a ``DivergedError``.
        """
        nats, count = [], 0
        for indices in self._stream.batches(self.epoch + 1, self._hyper.batch_size, self._lengths):
            examples = [self._task.train[index] for index in self._hardest(indices)]
            nats.append(self._train_step(examples))
            beat()
            count += sum(len(example.answer_tokens) for example in examples)
            self.tokens += sum(len(example.tokens) for example in examples)
        return EpochTraining(answer_nats=math.fsum(nats), answer_tokens=count)

    def checkpoint(self) -> Checkpoint:
        """Return the state after the last whole epoch, sharing memory with the run."""
        tensors, numbers = export_state(self._optimizer, self.adapted.parameters)
        return Checkpoint(
            trial_id=self.trial.trial_id,
            epoch=self.epoch,
            step=self.step,
            tokens=self.tokens,
            curve=tuple(self.curve),
            weights=self.adapted.parameters,
            optimizer_tensors=tensors,
            optimizer_numbers=numbers,
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take over a checkpoint's state."""
        self.load_weights(checkpoint.weights)
        import_state(
            self._optimizer,
            self.adapted.parameters,
            checkpoint.optimizer_tensors,
            checkpoint.optimizer_numbers,
        )
        self.curve = list(checkpoint.curve)
        self.step = checkpoint.step
        self.tokens = checkpoint.tokens

    @torch.no_grad()
    def load_weights(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Set the trained weights."""
        for name, weight in self.adapted.parameters.items():
            weight.copy_(weights[name])

    def _train_step(self, examples: Sequence[EncodedExample]) -> float:
        """Do one optimizer step; return the sum of the answer tokens' losses in nats."""
        hyper = self._hyper
        factor = learning_rate_factor(
            hyper.lr_scheduler_type, self.step, total=self._total, warmup=self._warmup
        )
        set_learning_rate(self._optimizer, factor)
        nats = self._backward(examples)
        norm = torch.nn.utils.clip_grad_norm_(self._weights, self._max_grad_norm)
        if not (math.isfinite(nats) and math.isfinite(norm.item())):
            raise DivergedError(
                f"the training loss or its gradient was not finite at step {self.step + 1} "
                f"(epoch {self.epoch + 1}): {nats:g} nats, gradient norm {norm.item():g}"
            )
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self.step += 1
        return nats

    def _hardest(self, indices: Sequence[int]) -> list[int]:
        """Put in the place of every example that wording of its fact, of so many, that is hardest now."""
        count = self._hyper.hard_candidates
        groups = [self._stream.candidates(index, count, self.step) for index in indices]
        return hardest(self._task.train, groups, self._mean_losses)

    @torch.no_grad()
    def _mean_losses(self, examples: Sequence[EncodedExample]) -> torch.Tensor:
        """Return each example's mean nats per answer token, without dropout and noise."""
        adapted = self.adapted
        sums = torch.zeros(len(examples), dtype=torch.float64, device=self._device)
        counts = torch.tensor([len(example.answer_tokens) for example in examples], device=self._device)
        adapted.model.train(False)
        try:
            for part, batch in self._parts(examples, with_prompts=False):
                losses = target_losses(target_logits(adapted.model, batch, virtual=adapted.virtual), batch)
                places = torch.tensor(part, device=self._device)
                sums.index_add_(0, places[batch.examples], losses.double())
        finally:
            adapted.model.train(True)
        return sums / counts

    def _backward(self, examples: Sequence[EncodedExample]) -> float:
        """Accumulate the gradient of the batch's objective, part by part; return its nats."""
        hyper, adapted = self._hyper, self.adapted
        weight = total_weight(examples, hyper.prompt_loss_weight)
        nats = torch.zeros((), dtype=torch.float64, device=self._device)
        parts = self._parts(examples, with_prompts=hyper.prompt_loss_weight > 0)
        for number, (part, batch) in enumerate(parts):
            noise = self._noise.on(self.step, part, [examples[place] for place in part])
            with adapted.micro_batch(self.step, number), noise:
                logits = target_logits(adapted.model, batch, virtual=adapted.virtual)
            losses = target_losses(logits, batch)
            torch.autograd.backward(weighted_objective(logits, losses, batch, hyper) / weight)
            nats += losses.detach()[batch.is_answer].double().sum()
        return nats.item()

    def _parts(
        self, examples: Sequence[EncodedExample], *, with_prompts: bool
    ) -> Iterator[tuple[list[int], Batch]]:
        """Cut examples into micro-batches, each with its examples' places."""
        lengths = [len(example.tokens) for example in examples]
        is_packed, model = self._hyper.packing, self.adapted.model
        for part in split_by_tokens(lengths, self._micro_batch_tokens, packed=is_packed):
            chosen = [examples[place] for place in part]
            yield part, make_batch(model, chosen, with_prompts=with_prompts, packed=is_packed)


def best_epoch(curve: Sequence[CurvePoint]) -> int:
    """Return the epoch with the lowest validation loss, the first of equals."""
    return min(curve, key=lambda point: (point.eval_loss, point.epoch)).epoch
