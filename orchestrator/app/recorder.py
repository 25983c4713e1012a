"""From what workers report to rows of the ledger."""

import logging
from collections import deque
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType

from orchestrator.app.provenance import trial_provenance
from orchestrator.contracts import (
    DescribeTask,
    LeaseLostError,
    PointMeasured,
    Report,
    TaskDescribed,
    TaskId,
    TaskRecord,
    Trial,
    TrialEnded,
    TrialId,
    TrialPaused,
    TrialResult,
    TrialStarted,
    WorkerId,
)
from orchestrator.metadataset.ledger import Ledger

logger = logging.getLogger(__name__)


class ReportRecorder:
    """Puts reports into a ledger; committing them is the driver's.

    Args:
        ledger: The open ledger.
        trials: The plan, by id.
        data_revisions: Of tasks read from the hub: the commit.
    """

    def __init__(
        self,
        ledger: Ledger,
        trials: Mapping[TrialId, Trial],
        *,
        data_revisions: Mapping[TaskId, str] = MappingProxyType({}),
    ) -> None:
        self._ledger = ledger
        self._trials = trials
        self._data_revisions = data_revisions
        self._workers: dict[WorkerId, Mapping[str, str]] = {}
        self.reason_to_pause = "the stopping rule stands it by"
        """What the journal says of attempts that are paused."""

    def meet(self, worker_id: WorkerId, description: Mapping[str, str]) -> None:
        """Remember what a worker says of itself: part of the rows of the trials that it ends."""
        self._workers[worker_id] = description

    def take(self, report: Report, worker_id: WorkerId) -> bool:
        """Put a worker's report into the ledger; False if it is of an attempt that lost its lease."""
        try:
            self._record(report, worker_id)
        except LeaseLostError as err:
            logger.warning("report refused reason=%s", err)
            return False
        return True

    def _record(self, report: Report, worker_id: WorkerId) -> None:
        match report:
            case TrialStarted():
                self._ledger.record_started(report.trial_id, report.attempt)
            case PointMeasured():
                self._ledger.record_point(report.point)
            case TrialEnded() if report.outcome.is_final:
                self._ledger.record_result(self.result_of(report, worker_id))
            case TrialEnded():
                self._ledger.record_lost(report.trial_id, report.attempt, report.error or "")
            case TrialPaused():
                self._ledger.record_paused(report.trial_id, report.attempt, self.reason_to_pause)
            case TaskDescribed(record=TaskRecord() as record):
                self._ledger.record_task(record)
            case TaskDescribed():
                logger.error("task not described task=%s error=%s", report.task_id, report.error)

    def result_of(self, ended: TrialEnded, worker_id: WorkerId | None = None) -> TrialResult:
        """Return the row of a trial that has ended, with what its earlier attempts cost.

        Args:
            ended: How it ended.
            worker_id: Who says so; None where the driver itself does.

        Returns:
            The row.
        """
        progress = self._ledger.progress(ended.trial_id)
        trial = self._trials[ended.trial_id]
        worker = {} if worker_id is None else self._workers.get(worker_id, {})
        return TrialResult(
            trial=trial,
            attempt=ended.attempt,
            outcome=ended.outcome,
            epochs=progress.epochs,
            train_s=progress.train_s + ended.unreported_train_s,
            eval_s=progress.eval_s,
            peak_memory_bytes=ended.peak_memory_bytes,
            device=ended.device,
            error=ended.error,
            finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
            provenance=trial_provenance(worker, self._data_revisions.get(trial.task_id)),
        )


class UndescribedTasks:
    """Tasks whose meta-features are not on record: handed out one at a time, so that all workers share them.

    Args:
        commands: One a task.
    """

    def __init__(self, commands: Iterable[DescribeTask]) -> None:
        self._waiting = deque(commands)
        self._under_way: dict[TaskId, tuple[WorkerId, DescribeTask]] = {}

    @property
    def is_empty(self) -> bool:
        """Whether no task is left, none under way either."""
        return not self._waiting and not self._under_way

    def next_for(self, worker_id: WorkerId) -> DescribeTask | None:
        """Return the next task for a worker, or None."""
        if not self._waiting:
            return None
        command = self._waiting.popleft()
        self._under_way[command.task_id] = (worker_id, command)
        return command

    def done(self, task_id: TaskId) -> None:
        """Take note that a task was described, or can't be."""
        self._under_way.pop(task_id, None)

    def give_back(self, worker_id: WorkerId) -> None:
        """Take back what a worker that is gone had in hand."""
        for task_id, (holder, command) in list(self._under_way.items()):
            if holder == worker_id:
                del self._under_way[task_id]
                self._waiting.append(command)
