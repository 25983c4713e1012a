"""One attempt at a trial: epoch after epoch trained, evaluated, saved and reported."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from orchestrator.contracts import (
    CurvePoint,
    Lease,
    OrchestrationError,
    Outcome,
    PointMeasured,
    TrialPaused,
    TrialStarted,
)
from orchestrator.metadataset.durable import Fault
from workers.judge import Judge, JudgedItem
from workers.tasks.records import Example, Task
from workers.training.checkpoints import CheckpointStore
from workers.training.control import Decision, TrainerControl
from workers.training.encoding import EncodedTask
from workers.training.evaluation import SplitMetrics, evaluate_splits
from workers.training.export import export_adapter
from workers.training.lora import merged
from workers.training.memory import peak_memory_bytes
from workers.training.run import DivergedError, TrialRun, best_epoch

_log = logging.getLogger(__name__)


class TimedOutError(OrchestrationError):
    """A trial takes longer than the sweep allows; its outcome is ``timed_out``."""


@dataclass(slots=True)
class Progress:
    """What is to be said about an attempt however it ends."""

    epochs: int
    """The last epoch on record or reported."""
    epoch_started: float | None = None
    """When the epoch in hand began to train, on the performance counter."""
    trained_s: float | None = None
    """Training seconds of the epoch in hand, once it is trained."""

    @property
    def unreported_train_s(self) -> float:
        """Training seconds of an epoch that left no row."""
        if self.trained_s is not None:
            return self.trained_s
        return 0.0 if self.epoch_started is None else time.perf_counter() - self.epoch_started

    def reported(self, epoch: int) -> None:
        """Take note that an epoch has left its row."""
        self.epochs = max(self.epochs, epoch)
        self.epoch_started = self.trained_s = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a worker lends to every attempt."""

    root: Path
    checkpoints: CheckpointStore
    device: torch.device
    device_name: str
    fault: Fault
    judge: Judge | None


class Attempt:
    """Trains a trial until it has ended, was stopped, or is no longer wanted.

    Args:
        lease: What was leased.
        run: The trial's state, fresh.
        tokenizer: The base model's.
        task: The trial's.
        encoded: The same as tokens.
        lent: By the worker.
        control: Takes reports and says how far to train.
        progress: Kept up to date, for whoever has to say how the attempt ended.
    """

    def __init__(
        self,
        lease: Lease,
        run: TrialRun,
        tokenizer: PreTrainedTokenizerBase,
        task: Task,
        encoded: EncodedTask,
        lent: Surroundings,
        control: TrainerControl,
        progress: Progress,
    ) -> None:
        self._lease = lease
        self._run = run
        self._tokenizer = tokenizer
        self._task = task
        self._encoded = encoded
        self._lent = lent
        self._control = control
        self._progress = progress
        self._beat = heartbeat(lease, control)

    def train(self) -> Outcome | None:
        """Train, evaluate, save and report epoch by epoch.

        Returns:
            The outcome; None if the attempt was paused or abandoned. Whatever goes wrong is raised.
        """
        lease, run, trial = self._lease, self._run, self._lease.trial
        self._resume()
        self._control.report(
            TrialStarted(trial_id=trial.trial_id, attempt=lease.attempt, from_epoch=run.epoch)
        )
        for point in run.curve[lease.committed_epochs :]:
            self._progress.epochs = point.epoch
            self._control.report(PointMeasured(point=point))
        outcome = Outcome.COMPLETED
        while run.epoch < trial.max_epochs:
            decision = self._control.wait(trial.trial_id, lease.attempt, run.epoch)
            if decision is Decision.ABANDON:
                return None
            if decision is Decision.PAUSE:
                self._control.report(TrialPaused(trial_id=trial.trial_id, attempt=lease.attempt))
                return None
            if decision is Decision.STOP:
                outcome = Outcome.STOPPED
                break
            self._epoch()
        if lease.keep_adapter and run.curve:
            self._export()
        return outcome

    def _resume(self) -> None:
        """Put the newest valid checkpoint, if there is one, into the run."""
        lease, store = self._lease, self._lent.checkpoints
        checkpoint = store.newest(lease.trial.trial_id, lease.attempt)
        if checkpoint is None:
            return
        fresh = [replace(point, attempt=lease.attempt) for point in checkpoint.curve]
        if lease.keep_adapter and store.weights_of(lease.trial.trial_id, best_epoch(fresh)) is None:
            _log.warning("weights of the best epoch are lost, starting over trial=%s", lease.trial.trial_id)
            return
        self._run.restore(replace(checkpoint, curve=tuple(fresh)))

    def _epoch(self) -> None:
        """Train and evaluate one epoch, save a checkpoint, and report what is not on record yet."""
        lease, run, store = self._lease, self._run, self._lent.checkpoints
        point = self._measure_epoch()
        run.curve.append(point)
        self._lent.fault("epoch_evaluated")
        store.save(run.checkpoint(), lease.attempt)
        if run.epoch > lease.committed_epochs:
            self._control.report(PointMeasured(point=point))
        self._progress.reported(run.epoch)
        store.prune(
            lease.trial.trial_id,
            acknowledged_epoch=self._control.acknowledged_epoch(lease.trial.trial_id, lease.attempt),
            keep_epoch=best_epoch(run.curve) if lease.keep_adapter else None,
        )

    def _measure_epoch(self) -> CurvePoint:
        """Train and evaluate the next epoch."""
        lease, run, trial, progress = self._lease, self._run, self._lease.trial, self._progress
        epoch = run.epoch + 1
        self._lent.fault("epoch_start")
        progress.epoch_started, cpu_start = time.perf_counter(), time.process_time()
        training = run.train_epoch(self._beat)
        trained = time.perf_counter()
        progress.trained_s = trained - progress.epoch_started
        self._lent.fault("epoch_trained")
        with merged(run.adapted.layers):
            held_out = evaluate_splits(
                run.adapted.model,
                self._tokenizer,
                [self._encoded.validation, self._encoded.test],
                trial.settings,
                self._beat,
                virtual=run.adapted.virtual,
            )
        validation, test = held_out
        if not all(split.loss <= trial.settings.diverged_loss for split in held_out):
            raise DivergedError(
                f"after epoch {epoch} the loss is {validation.loss:g} nats on validation and {test.loss:g} "
                f"on test, beyond diverged_loss = {trial.settings.diverged_loss:g}"
            )
        evaluated = time.perf_counter()
        cpu_s = time.process_time() - cpu_start
        verdicts = self._judged(self._task.validation, validation), self._judged(self._task.test, test)
        return CurvePoint(
            trial_id=trial.trial_id,
            attempt=lease.attempt,
            task_id=trial.task_id,
            config_id=trial.config_id,
            seed=trial.seed,
            epoch=epoch,
            step=run.step,
            tokens=run.tokens,
            train_loss=training.loss,
            eval_loss=validation.loss,
            eval_exact_match=validation.exact_match,
            eval_token_f1=validation.token_f1,
            test_loss=test.loss,
            test_exact_match=test.exact_match,
            test_token_f1=test.token_f1,
            train_s=progress.trained_s,
            eval_s=evaluated - trained,
            cpu_s=cpu_s,
            peak_memory_bytes=peak_memory_bytes(self._lent.device),
            device=self._lent.device_name,
            eval_rouge_l=validation.rouge_l,
            test_rouge_l=test.rouge_l,
            eval_judge=verdicts[0],
            test_judge=verdicts[1],
            generation_s=validation.generation_s + test.generation_s,
            judge_s=None if self._lent.judge is None else time.perf_counter() - evaluated,
        )

    def _judged(self, examples: Sequence[Example], metrics: SplitMetrics) -> float | None:
        """Return the judge's mean over a split's answers; None without a judge, or without verdicts."""
        if self._lent.judge is None:
            return None
        asked = zip(examples, metrics.answers, strict=False)  # the first ``max_eval_examples`` were answered
        items = [JudgedItem(example.question, example.answer, answer) for example, answer in asked]
        return self._lent.judge.score(items, beat=self._beat).mean

    def _export(self) -> None:
        """Publish the adapter of the best epoch."""
        run, epoch = self._run, best_epoch(self._run.curve)
        if epoch != run.epoch:
            weights = self._lent.checkpoints.weights_of(run.trial.trial_id, epoch)
            if weights is None:
                raise FileNotFoundError(
                    f"the checkpoint of epoch {epoch}, the best, is gone; its adapter is lost"
                )
            run.load_weights(weights)
        export_adapter(self._lent.root, run.trial, run.adapted, run.curve, epoch, fault=self._lent.fault)


def heartbeat(lease: Lease, control: TrainerControl) -> Callable[[], None]:
    """Return what is called at every step: it shows life, and ends a trial whose time is over."""
    began_s = time.monotonic()

    def beat() -> None:
        control.beat()
        spent_s = lease.spent_s + time.monotonic() - began_s
        if lease.time_limit_s is not None and spent_s > lease.time_limit_s:
            raise TimedOutError(
                f"{spent_s:.1f} s of training and evaluation, beyond trial_timeout_s = {lease.time_limit_s:g}"
            )

    return beat
