"""A worker: one training thread, and one call through which commands come in and reports go out.

Made by whoever owns the process: the Ray actor, or a test or notebook directly. It holds a trainer, with its
warm base models, and dies with its process; nothing survives a restart but the checkpoints and adapters under
the root. Needs no torch itself.
"""

import logging
import math
import platform
import threading
import time
import traceback
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from os import getpid

from orchestrator.contracts import (
    Acknowledge,
    Assign,
    Command,
    DescribeTask,
    Extend,
    InputError,
    Lease,
    Outcome,
    Pause,
    Release,
    Report,
    Stop,
    TaskDescribed,
    TrialEnded,
    TrialId,
    TrialPaused,
    WorkerStalledError,
)
from workers.software import software
from workers.training.control import Decision, PackTrainer
from workers.training.traces import error_tail

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Order:
    """What has been said about the newest attempt of a trial."""

    lease: Lease
    run_until_epoch: int
    acknowledged_epoch: int
    stop: bool = False
    pause: bool = False
    ended: bool = False


class WorkerSession:
    """Trains what it is assigned, and talks about it when asked.

    ``exchange`` and ``describe`` may be called from any thread; training happens in one of its own.
    """

    def __init__(self, worker_id: str, trainer: PackTrainer, *, stalled_after_s: float = math.inf) -> None:
        """Start the training thread.

        Args:
            worker_id: For ``describe`` and the log.
            trainer: Trains in that thread, and nowhere else.
            stalled_after_s: Seconds without a step of training after which ``exchange`` refuses to answer.
        """
        self._worker_id = worker_id
        self._trainer = trainer
        self._stalled_after_s = stalled_after_s
        self._changed = threading.Condition()
        self._orders: dict[TrialId, _Order] = {}
        self._queue: deque[tuple[Lease, ...] | DescribeTask] = deque()
        self._reports: list[Report] = []
        self._closing = False
        self._beat_at_s: float | None = None
        """When the training thread last showed that it is alive; None while it has nothing to do."""
        self._thread = threading.Thread(target=self._work, name=f"training-{worker_id}", daemon=True)
        self._thread.start()

    def exchange(self, commands: Sequence[Command], timeout_s: float) -> list[Report]:
        """Apply commands, then return what there is to report.

        Args:
            commands: In the order they were given; repeated ones and those of older attempts do nothing.
            timeout_s: How long to wait for a first report; 0 does not wait.

        Returns:
            All reports since the last call, oldest first; empty after the timeout.

        Raises:
            WorkerStalledError: The training thread has made no step for long.
        """
        deadline = time.monotonic() + timeout_s
        with self._changed:
            self._refuse_stalled()
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
        found = {"worker": self._worker_id, "host": platform.node(), "pid": str(getpid())}
        return found | dict(software()) | dict(self._trainer.facts())

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
            if isinstance(report, TrialEnded | TrialPaused):
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
            if order.pause:
                return Decision.PAUSE
            return Decision.TRAIN_ON if epoch < order.run_until_epoch else None

    def wait(self, trial_id: TrialId, attempt: int, epoch: int) -> Decision:
        """Say whether to train beyond an epoch; wait until that is decided."""
        with self._changed:
            self._beat_at_s = None
            while (decision := self.peek(trial_id, attempt, epoch)) is None:
                self._changed.wait()
            self._beat_at_s = time.monotonic()
            return decision

    def beat(self) -> None:
        """Take note that the training thread is alive."""
        self._beat_at_s = time.monotonic()

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
                if not command.keep_state:
                    self._trainer.release(command.trial_id, command.attempt)
            return
        if order is None or order.lease.attempt != command.attempt:
            _log.info("command of another attempt dropped command=%s", command)
        elif isinstance(command, Extend):
            order.run_until_epoch = max(order.run_until_epoch, command.run_until_epoch)
        elif isinstance(command, Stop):
            order.stop = True
        elif isinstance(command, Pause):
            order.pause = True
            self._let_go_of_queued(order.lease)
        elif isinstance(command, Acknowledge):
            order.acknowledged_epoch = max(order.acknowledged_epoch, command.epoch)

    def _let_go_of_queued(self, lease: Lease) -> None:
        """Give a lease back at once if training has not begun on it; the lock is held."""
        for index, work in enumerate(self._queue):
            if isinstance(work, tuple) and lease in work:
                rest = tuple(item for item in work if item is not lease)
                del self._queue[index]
                if rest:
                    self._queue.insert(index, rest)
                self.report(TrialPaused(trial_id=lease.trial.trial_id, attempt=lease.attempt))
                return

    def _refuse_stalled(self) -> None:
        if self._beat_at_s is not None:
            silent_s = time.monotonic() - self._beat_at_s
            if silent_s > self._stalled_after_s:
                raise WorkerStalledError(self._worker_id, silent_s)

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
        self._trainer.prepare()
        while True:
            with self._changed:
                self._beat_at_s = None
                self._changed.wait_for(lambda: self._queue or self._closing)
                if self._closing:
                    return
                work = self._queue.popleft()
                self._beat_at_s = time.monotonic()
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
                    device="",
                    error=error_tail(trace),
                )
                self.report(ended)
