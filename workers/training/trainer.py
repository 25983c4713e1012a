"""Trains the trials it is leased, one after the other, around base models that stay resident.

A trainer belongs to one worker and keeps base models, tasks and encodings from trial to trial. A trial's
numbers depend on none of that: it works on a structure copy of the base, and all its randomness is keyed.
Whatever happens to a trial becomes an outcome; only a crash of the process leaves ``train`` without one.
"""

import gc
import logging
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from orchestrator.contracts import (
    CurvePoint,
    DescribeTask,
    InputError,
    InvalidConfigError,
    Lease,
    OrchestrationError,
    Outcome,
    PointMeasured,
    TaskId,
    TaskRecord,
    TrialEnded,
    TrialId,
    TrialPaused,
    TrialStarted,
)
from orchestrator.metadataset.durable import Fault, no_fault
from workers.metafeatures import measure_encoded
from workers.models.base import BaseCache
from workers.tasks.records import Task
from workers.training.checkpoints import CheckpointStore, is_storage_error
from workers.training.control import Decision, TrainerControl
from workers.training.description import Measure, task_record
from workers.training.encoding import EncodedTask, EncodingCache
from workers.training.evaluation import evaluate_splits
from workers.training.export import export_adapter
from workers.training.hyperparameters import Hyperparameters
from workers.training.lora import merged
from workers.training.memory import device_name, is_out_of_memory, peak_memory_bytes, reset_peak_memory
from workers.training.run import DivergedError, TrialRun, best_epoch
from workers.training.traces import error_tail

_log = logging.getLogger(__name__)

_PACKAGES = ("torch", "transformers", "peft", "tokenizers", "safetensors", "bitsandbytes")


class TimedOutError(OrchestrationError):
    """A trial takes longer than the sweep allows; its outcome is ``timed_out``."""


@dataclass(slots=True)
class _Progress:
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


class Trainer:
    """The resident executor: a pack is trained one trial after the other."""

    def __init__(
        self,
        root: Path,
        *,
        load_task: Callable[[str], Task],
        measure_task: Measure = measure_encoded,
        device: str = "cpu",
        threads: int | None = None,
        fault: Fault = no_fault,
    ) -> None:
        """Start with nothing loaded.

        Args:
            root: Of the sweep: where checkpoints and adapters go.
            load_task: From a trial's ``task_source`` to its task.
            measure_task: From a task and a base model to meta-features.
            device: As torch names it.
            threads: CPU threads of torch; with one, results are reproducible bit for bit. None: its own.
            fault: Called at named points.
        """
        self._root = root
        self._threads = threads
        self._device = torch.device(device)
        self._device_name = device_name(self._device)
        self._load_task = load_task
        self._measure_task = measure_task
        self._fault = fault
        self._bases = BaseCache(device=device)
        self._tasks: dict[str, Task] = {}
        self._encodings = EncodingCache()
        self.checkpoints = CheckpointStore(root, fault=fault)

    def prepare(self) -> None:
        """Set the number of threads: OpenMP keeps it for each calling thread apart."""
        if self._threads is not None:
            torch.set_num_threads(self._threads)

    def facts(self) -> Mapping[str, str]:
        """Return device and versions."""
        found = {"device": str(self._device), "device_name": self._device_name}
        found["threads"] = str(self._threads or torch.get_num_threads())
        for package in _PACKAGES:
            try:
                found[package] = metadata.version(package)
            except metadata.PackageNotFoundError:
                continue
        return found

    def release(self, trial_id: TrialId, attempt: int) -> None:
        """Remove a trial's checkpoints by this attempt and those before it."""
        self.checkpoints.release(trial_id, attempt)

    def train(self, pack: Sequence[Lease], control: TrainerControl) -> None:
        """Train the leased trials until each has ended, was stopped, or is no longer wanted.

        Args:
            pack: Trials that may share the base; here they take turns.
            control: Takes reports and says how far to train.
        """
        for lease in pack:
            self._train_one(lease, control)

    def describe(self, command: DescribeTask) -> TaskRecord:
        """Measure a task's meta-features under the unquantised base model.

        Args:
            command: Names the task, the base model and the caps.

        Returns:
            The task's row. An ``InputError`` tells of a task or base model that is not what was planned.
        """
        settings = command.settings
        base = self._bases.get(command.base_model, quant="none", dtype=settings.compute_dtype)
        task = self._task(command.source, command.task_id)
        encoded = self._encodings.get(
            base.tokenizer, base.fingerprint, task, max_length_tokens=settings.max_length_tokens
        )
        features = self._measure_task(task, encoded, base, settings)
        return task_record(task, command.source, command.name, base, features)

    def _train_one(self, lease: Lease, control: TrainerControl) -> None:
        """Run one attempt; whatever goes wrong becomes its outcome."""
        reset_peak_memory(self._device)
        progress = _Progress(epochs=lease.committed_epochs)
        outcome: Outcome | None
        reason: str | None = None
        try:
            outcome = self._attempt(lease, control, progress)
        except InvalidConfigError as error:
            outcome, reason = Outcome.INVALID, str(error)
        except DivergedError as error:
            outcome, reason = Outcome.DIVERGED, str(error)
        except TimedOutError as error:
            outcome, reason = Outcome.TIMED_OUT, str(error)
        except InputError as error:
            outcome, reason = Outcome.FAILED, str(error)
        except Exception as error:  # noqa: BLE001  (a worker's outermost edge: it becomes the trial's outcome)
            outcome = _outcome(error)
            reason = _reason(error, outcome)
            _log.warning("trial ended by an error trial=%s outcome=%s", lease.trial.trial_id, outcome)
        if outcome is None:
            return
        ended = TrialEnded(
            trial_id=lease.trial.trial_id,
            attempt=lease.attempt,
            outcome=outcome,
            epochs=progress.epochs,
            unreported_train_s=progress.unreported_train_s,
            peak_memory_bytes=peak_memory_bytes(self._device),
            device=self._device_name,
            error=reason,
        )
        if not outcome.is_success:
            self._free_memory()
        control.report(ended)

    def _attempt(self, lease: Lease, control: TrainerControl, progress: _Progress) -> Outcome | None:
        """Train, evaluate, save and report epoch by epoch; None if the attempt was abandoned."""
        trial = lease.trial
        hyper = Hyperparameters.from_config(trial.config)
        base = self._bases.get(trial.base_model, quant=hyper.quant, dtype=trial.settings.compute_dtype)
        if base.fingerprint != trial.base_fingerprint:
            raise InputError(
                f"base model {trial.base_model!r} has fingerprint {base.fingerprint} on this worker, planned "
                f"was {trial.base_fingerprint}; give every node the same files"
            )
        task = self._task(trial.task_source, trial.task_id)
        encoded = self._encodings.get(
            base.tokenizer, base.fingerprint, task, max_length_tokens=trial.settings.max_length_tokens
        )
        run = TrialRun(trial, hyper, base, encoded)
        self._resume(run, lease)
        control.report(TrialStarted(trial_id=trial.trial_id, attempt=lease.attempt, from_epoch=run.epoch))
        for point in run.curve[lease.committed_epochs :]:
            progress.epochs = point.epoch
            control.report(PointMeasured(point=point))
        outcome = Outcome.COMPLETED
        beat = _heartbeat(lease, control)
        while run.epoch < trial.max_epochs:
            decision = control.wait(trial.trial_id, lease.attempt, run.epoch)
            if decision is Decision.ABANDON:
                return None
            if decision is Decision.PAUSE:
                control.report(TrialPaused(trial_id=trial.trial_id, attempt=lease.attempt))
                return None
            if decision is Decision.STOP:
                outcome = Outcome.STOPPED
                break
            self._epoch(run, lease, base.tokenizer, encoded, progress, beat)
            if run.epoch > lease.committed_epochs:
                control.report(PointMeasured(point=run.curve[-1]))
            progress.epochs = max(progress.epochs, run.epoch)
            progress.epoch_started = progress.trained_s = None
            self.checkpoints.prune(
                trial.trial_id,
                acknowledged_epoch=control.acknowledged_epoch(trial.trial_id, lease.attempt),
                keep_epoch=best_epoch(run.curve) if lease.keep_adapter else None,
            )
        if lease.keep_adapter and run.curve:
            self._export(run)
        return outcome

    def _resume(self, run: TrialRun, lease: Lease) -> None:
        """Put the newest valid checkpoint, if there is one, into the run."""
        checkpoint = self.checkpoints.newest(lease.trial.trial_id, lease.attempt)
        if checkpoint is None:
            return
        fresh = [replace(point, attempt=lease.attempt) for point in checkpoint.curve]
        best = best_epoch(fresh)
        if lease.keep_adapter and self.checkpoints.weights_of(lease.trial.trial_id, best) is None:
            _log.warning("weights of the best epoch are lost, starting over trial=%s", lease.trial.trial_id)
            return
        run.restore(replace(checkpoint, curve=tuple(fresh)))

    def _epoch(
        self,
        run: TrialRun,
        lease: Lease,
        tokenizer: PreTrainedTokenizerBase,
        encoded: EncodedTask,
        progress: _Progress,
        beat: Callable[[], None],
    ) -> None:
        """Train and evaluate one epoch, add its point to the curve and save a checkpoint."""
        trial, epoch = lease.trial, run.epoch + 1
        self._fault("epoch_start")
        progress.epoch_started, cpu_start = time.perf_counter(), time.process_time()
        training = run.train_epoch(beat)
        trained = time.perf_counter()
        progress.trained_s = trained - progress.epoch_started
        self._fault("epoch_trained")
        with merged(run.adapted.layers):
            held_out = evaluate_splits(
                run.adapted.model, tokenizer, [encoded.validation, encoded.test], trial.settings, beat
            )
        validation, test = held_out
        if not all(split.loss <= trial.settings.diverged_loss for split in held_out):
            raise DivergedError(
                f"after epoch {epoch} the loss is {validation.loss:g} nats on validation and {test.loss:g} "
                f"on test, beyond diverged_loss = {trial.settings.diverged_loss:g}"
            )
        run.curve.append(
            CurvePoint(
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
                eval_s=time.perf_counter() - trained,
                cpu_s=time.process_time() - cpu_start,
                peak_memory_bytes=peak_memory_bytes(self._device),
                device=self._device_name,
            )
        )
        self._fault("epoch_evaluated")
        self.checkpoints.save(run.checkpoint(), lease.attempt)

    def _export(self, run: TrialRun) -> None:
        """Publish the adapter of the best epoch."""
        epoch = best_epoch(run.curve)
        if epoch != run.epoch:
            weights = self.checkpoints.weights_of(run.trial.trial_id, epoch)
            if weights is None:
                raise FileNotFoundError(
                    f"the checkpoint of epoch {epoch}, the best, is gone; its adapter is lost"
                )
            run.load_weights(weights)
        export_adapter(self._root, run.trial, run.adapted, run.curve, epoch, fault=self._fault)

    def _task(self, source: str, task_id: TaskId) -> Task:
        """Return a task, loading it the first time; its rows must be those that were planned."""
        if source not in self._tasks:
            self._tasks[source] = self._load_task(source)
        task = self._tasks[source]
        if task.task_id != task_id:
            del self._tasks[source]
            raise InputError(
                f"task {source!r} has other rows on this worker ({task.task_id}) than planned ({task_id}); "
                "give every node the same files, or plan the sweep again"
            )
        return task

    def _free_memory(self) -> None:
        """Give back what an ended attempt held, tracebacks and cached device memory included."""
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def _heartbeat(lease: Lease, control: TrainerControl) -> Callable[[], None]:
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


def _outcome(error: Exception) -> Outcome:
    """Tell what an unexpected error is: a config too large, storage that fails (tried again), or a defect."""
    if is_out_of_memory(error):
        return Outcome.OUT_OF_MEMORY
    return Outcome.LOST if is_storage_error(error) else Outcome.FAILED


def _reason(error: Exception, outcome: Outcome) -> str:
    """Return the traceback's tail for a defect, one line for anything else."""
    if outcome is not Outcome.FAILED:
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    return error_tail("".join(traceback.format_exception(error)))
