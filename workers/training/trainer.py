"""Trains the trials it is leased, one after the other, around base models that stay resident.

A trainer belongs to one worker and keeps base models, tasks and encodings from trial to trial. A trial's
numbers depend on none of that: it works on a structure copy of the base, and all its randomness is keyed.
Whatever happens to a trial becomes an outcome; only a crash of the process leaves ``train`` without one.
"""

import gc
import logging
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from orchestrator.contracts import (
    DescribeTask,
    InputError,
    InvalidConfigError,
    Lease,
    Outcome,
    TaskId,
    TaskRecord,
    TrialEnded,
    TrialId,
)
from orchestrator.metadataset.durable import Fault, no_fault
from workers.footprint.admission import Admission
from workers.footprint.lengths import Lengths
from workers.judge import Judge, JudgeSettings
from workers.metafeatures import measure_encoded
from workers.models.base import BaseCache
from workers.tasks.records import Task
from workers.training.attempt import Attempt, Progress, Surroundings, TimedOutError
from workers.training.checkpoints import CheckpointStore, is_storage_error
from workers.training.control import TrainerControl
from workers.training.description import Measure, task_record
from workers.training.encoding import EncodingCache
from workers.training.hyperparameters import Hyperparameters
from workers.training.memory import (
    device_name,
    is_out_of_memory,
    keep_freed_memory,
    peak_memory_bytes,
    reset_peak_memory,
)
from workers.training.run import DivergedError, TrialRun
from workers.training.traces import error_tail

_log = logging.getLogger(__name__)


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
        processes: int = 1,
        judge: JudgeSettings | None = None,
        fault: Fault = no_fault,
    ) -> None:
        """Start with nothing loaded.

        Args:
            root: Of the sweep: where checkpoints and adapters go.
            load_task: From a trial's ``task_source`` to its task.
            measure_task: From a task and a base model to meta-features.
            device: As torch names it.
            threads: CPU threads of torch; with one, results are reproducible bit for bit. None: its own.
            processes: Workers that have the device together, if it is a GPU.
            judge: Who judges answers after every epoch; None: no one.
            fault: Called at named points.
        """
        self._threads = threads
        self._device = torch.device(device)
        self._load_task = load_task
        self._measure_task = measure_task
        # The memory estimate counts one base: a GPU holds no second in another precision beside it.
        self._bases = BaseCache(device=device, max_resident=1 if self._device.type == "cuda" else 2)
        self._admission = Admission(self._device, processes)
        self._tasks: dict[str, Task] = {}
        self._encodings = EncodingCache()
        self._lent = Surroundings(
            root=root,
            checkpoints=CheckpointStore(root, fault=fault),
            device=self._device,
            device_name=device_name(self._device),
            fault=fault,
            judge=None if judge is None else Judge(judge),
        )

    def prepare(self) -> None:
        """Set the number of threads, which OpenMP keeps for each calling thread apart, and the allocator."""
        keep_freed_memory()
        if self._threads is not None:
            torch.set_num_threads(self._threads)

    def facts(self) -> Mapping[str, str]:
        """Return the device and the number of threads."""
        threads = str(self._threads or torch.get_num_threads())
        return {"device": str(self._device), "device_name": self._lent.device_name, "threads": threads}

    def release(self, trial_id: TrialId, attempt: int) -> None:
        """Remove a trial's checkpoints by this attempt and those before it."""
        self._lent.checkpoints.release(trial_id, attempt)

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
        encoded = self._encodings.get(base, task, max_length_tokens=settings.max_length_tokens)
        features = self._measure_task(task, encoded, base, settings)
        return task_record(task, encoded, command.source, command.name, base, features)

    def _train_one(self, lease: Lease, control: TrainerControl) -> None:
        """Run one attempt; whatever goes wrong becomes its outcome."""
        reset_peak_memory(self._device)
        progress = Progress(epochs=lease.committed_epochs)
        outcome: Outcome | None
        reason: str | None = None
        try:
            outcome = self._attempt(lease, control, progress).train()
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
            device=self._lent.device_name,
            error=reason,
        )
        if not outcome.is_success:
            self._free_memory()
        control.report(ended)

    def _attempt(self, lease: Lease, control: TrainerControl, progress: Progress) -> Attempt:
        """Get ready all that an attempt needs."""
        trial = lease.trial
        hyper = Hyperparameters.from_config(trial.config)
        dtype = trial.settings.compute_dtype
        location = self._bases.locate(trial.base_model)
        if location.fingerprint != trial.base_fingerprint:
            raise InputError(
                f"base model {trial.base_model!r} has fingerprint {location.fingerprint} on this worker, "
                f"planned was {trial.base_fingerprint}; give every node the same files"
            )
        self._admission.check(hyper, location, dtype)
        base = self._bases.get(trial.base_model, quant=hyper.quant, dtype=dtype)
        task = self._task(trial.task_source, trial.task_id)
        encoded = self._encodings.get(base, task, max_length_tokens=trial.settings.max_length_tokens)
        lengths = Lengths.of(encoded, trial.settings.max_eval_examples)
        self._admission.check(hyper, location, dtype, lengths)
        tokens = self._admission.micro_batch_tokens(hyper, location, dtype, lengths)
        run = TrialRun(trial, hyper, base, encoded, micro_batch_tokens=tokens)
        return Attempt(lease, run, base.tokenizer, task, encoded, self._lent, control, progress)

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
