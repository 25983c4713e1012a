"""A worker: one training thread, and one call through which commands come in and reports go out.

Made by whoever owns the process: the Ray actor, or a test or notebook directly. It holds the warm base models
and dies with its process; nothing in it survives a restart but the checkpoints and adapters under the root.
"""

import logging
import platform
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from os import getpid
from pathlib import Path

import torch

from orchestrator.contracts import (
    Acknowledge,
    Assign,
    Command,
    DescribeTask,
    Extend,
    InputError,
    Lease,
    Outcome,
    Release,
    Report,
    Stop,
    TaskDescribed,
    TrialEnded,
    TrialId,
)
from orchestrator.metadataset.durable import Fault, no_fault
from workers.tasks.loading import load_task as load_task_from_source
from workers.tasks.records import Task
from workers.training.control import Decision
from workers.training.memory import device_name
from workers.training.trainer import Trainer, error_tail

_log = logging.getLogger(__name__)

_PACKAGES = ("torch", "transformers", "peft", "tokenizers", "safetensors", "bitsandbytes")


@dataclass(slots=True)
class _Order:
    """What has been said about the newest attempt of a trial."""

    lease: Lease
    run_until_epoch: int
    acknowledged_epoch: int
    stop: bool = False
    ended: bool = False


class WorkerSession:
    """Trains what it is assigned, and talks about it when asked.

    ``exchange`` and ``describe`` may be called from any thread; training happens in one of its own.
    """

    def __init__(
        self,
        root: str,
        worker_id: str,
        *,
        threads: int = 1,
        device: str | None = None,
        load_task: Callable[[str], Task] = load_task_from_source,
        fault: Fault = no_fault,
    ) -> None:
        """Start the training thread.

        Args:
            root: Of the sweep: where checkpoints and adapters go.
            worker_id: For ``describe`` and the log.
            threads: CPU threads of torch; results are reproducible bit for bit with one.
            device: As torch names it; None: the first GPU, else the CPU.
            load_task: From a trial's ``task_source`` to its task.
            fault: Called at named points.
        """
        self._worker_id = worker_id
        self._threads = threads
        self._device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._trainer = Trainer(Path(root), load_task=load_task, device=self._device, fault=fault)
        self._changed = threading.Condition()
        self._orders: dict[TrialId, _Order] = {}
        self._queue: deque[tuple[Lease, ...] | DescribeTask] = deque()
        self._reports: list[Report] = []
        self._closing = False
        self._thread = threading.Thread(target=self._work, name=f"training-{worker_id}", daemon=True)
        self._thread.start()

    def exchange(self, commands: Sequence[Command], timeout_s: float) -> list[Report]:
        """Apply commands, then return what there is to report.

        Args:
            commands: In the order they were given; repeated ones and those of older attempts do nothing.
            timeout_s: How long to wait for a first report; 0 does not wait.

        Returns:
            All reports since the last call, oldest first; empty after the timeout.
        """
        deadline = time.monotonic() + timeout_s
        with self._changed:
            for command in commands:
                self._apply(command)
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: self._reports or self._closing, max(0.0, deadline - time.monotonic())
            )
            reports, self._reports = self._reports, []
            return reports

    def describe(self) -> dict[str, str]:
        """Return who and what this worker is: part of the provenance of its trials."""
        found = {
            "worker": self._worker_id,
            "host": platform.node(),
            "pid": str(getpid()),
            "device": self._device,
        }
        found |= {"device_name": device_name(torch.device(self._device)), "threads": str(self._threads)}
        found["python"] = platform.python_version()
        for package in _PACKAGES:
            try:
                found[package] = metadata.version(package)
            except metadata.PackageNotFoundError:
                continue
        return found

    def close(self, timeout_s: float = 60.0) -> None:
        """Abandon what is running at its next epoch, and end the training thread.

        Args:
            timeout_s: How long to wait for the epoch in hand.

        Raises:
            TimeoutError: The epoch in hand took longer.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            raise TimeoutError(
                f"worker {self._worker_id} is still in its epoch after {timeout_s:g} s; wait longer"
            )

    def report(self, report: Report) -> None:
        """Queue a report of the training thread."""
        with self._changed:
            if isinstance(report, TrialEnded):
                order = self._orders.get(report.trial_id)
                if order is not None and order.lease.attempt == report.attempt:
                    order.ended = True
            self._reports.append(report)
            self._changed.notify_all()

    def peek(self, trial_id: TrialId, attempt: int, epoch: int) -> Decision | None:
        """Say whether to train beyond an epoch; None while that is not decided."""
        with self._changed:
            order = self._orders.get(trial_id)
            if self._closing or order is None or order.lease.attempt != attempt:
                return Decision.ABANDON
            if order.stop:
                return Decision.STOP
            return Decision.TRAIN_ON if epoch < order.run_until_epoch else None

    def wait(self, trial_id: TrialId, attempt: int, epoch: int) -> Decision:
        """Say whether to train beyond an epoch; wait until that is decided."""
        with self._changed:
            while (decision := self.peek(trial_id, attempt, epoch)) is None:
                self._changed.wait()
            return decision

    def acknowledged_epoch(self, trial_id: TrialId, attempt: int) -> int:
        """Return the epoch up to which the rows are on record."""
        with self._changed:
            order = self._orders.get(trial_id)
            return order.acknowledged_epoch if order is not None and order.lease.attempt == attempt else 0

    def _apply(self, command: Command) -> None:
        """Take one command in; the lock is held."""
        if isinstance(command, Assign):
            fresh = tuple(lease for lease in command.leases if self._take(lease))
            if fresh:
                self._queue.append(fresh)
            return
        if isinstance(command, DescribeTask):
            self._queue.append(command)
            return
        order = self._orders.get(command.trial_id)
        if isinstance(command, Release):
            if order is None or (order.ended and order.lease.attempt <= command.attempt):
                self._orders.pop(command.trial_id, None)
                self._trainer.checkpoints.release(command.trial_id, command.attempt)
            return
        if order is None or order.lease.attempt != command.attempt:
            _log.info("command of another attempt dropped command=%s", command)
        elif isinstance(command, Extend):
            order.run_until_epoch = max(order.run_until_epoch, command.run_until_epoch)
        elif isinstance(command, Stop):
            order.stop = True
        elif isinstance(command, Acknowledge):
            order.acknowledged_epoch = max(order.acknowledged_epoch, command.epoch)

    def _take(self, lease: Lease) -> bool:
        """Note a lease; False if this attempt, or a later one, is already known."""
        order = self._orders.get(lease.trial.trial_id)
        if order is not None and order.lease.attempt >= lease.attempt:
            return False
        self._orders[lease.trial.trial_id] = _Order(
            lease=lease, run_until_epoch=lease.run_until_epoch, acknowledged_epoch=lease.committed_epochs
        )
        return True

    def _work(self) -> None:
        """Train pack after pack until closed: the training thread."""
        torch.set_num_threads(self._threads)  # OpenMP keeps this number for each thread apart
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closing)
                if self._closing:
                    return
                work = self._queue.popleft()
            if isinstance(work, DescribeTask):
                self.report(self._describe(work))
                continue
            try:
                self._trainer.train(work, self)
            except Exception:  # noqa: BLE001  (the thread's outermost edge: it becomes the trials' outcome)
                self._fail(work, traceback.format_exc())

    def _describe(self, command: DescribeTask) -> TaskDescribed:
        """Measure a task; whatever goes wrong becomes the reason why there is no row."""
        try:
            record = self._trainer.describe(command)
        except InputError as error:
            return TaskDescribed(task_id=command.task_id, record=None, error=str(error))
        except Exception as error:  # noqa: BLE001  (the thread's outermost edge, as for trials)
            trace = traceback.format_exception(error)
            return TaskDescribed(task_id=command.task_id, record=None, error=error_tail("".join(trace)))
        return TaskDescribed(task_id=command.task_id, record=record, error=None)

    def _fail(self, pack: Sequence[Lease], trace: str) -> None:
        """End every trial of a pack that the trainer left open."""
        _log.error("training ended by an unexpected error worker=%s\n%s", self._worker_id, trace)
        for lease in pack:
            with self._changed:
                order = self._orders.get(lease.trial.trial_id)
                is_open = order is not None and order.lease.attempt == lease.attempt and not order.ended
            if is_open:
                ended = TrialEnded(
                    trial_id=lease.trial.trial_id,
                    attempt=lease.attempt,
                    outcome=Outcome.FAILED,
                    epochs=lease.committed_epochs,
                    unreported_train_s=0.0,
                    peak_memory_bytes=0,
                    device=self._device,
                    error=error_tail(trace),
                )
                self.report(ended)
