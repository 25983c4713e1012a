"""The loop that runs a sweep: reports in, rows to disk, decisions, commands out.

One thread owns the ledger, the scheduler and the pool. A round takes what the workers said, writes all of it
with one commit, and only then lets the scheduler judge and the workers know: nothing is decided,
acknowledged or removed on the strength of a row that is not on disk.
"""

import logging
import shutil
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from orchestrator.app.adapters import AdapterKeeper
from orchestrator.app.provenance import provenance
from orchestrator.app.tally import Tally
from orchestrator.app.workforce import Answer, WorkerDown, WorkerSaid, WorkerUp, Workforce
from orchestrator.contracts import (
    Acknowledge,
    Assign,
    CurvePoint,
    DescribeTask,
    Extend,
    Lease,
    LeaseLostError,
    Outcome,
    PointMeasured,
    Release,
    Report,
    Stop,
    TaskDescribed,
    TaskId,
    Trial,
    TrialEnded,
    TrialId,
    TrialResult,
    TrialStarted,
    WorkerId,
)
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.ledger import Ledger
from orchestrator.scheduling import (
    Conclude,
    Event,
    ExtendRun,
    Grant,
    Instruction,
    PointLanded,
    RunEnded,
    RunStarted,
    Scheduler,
    StopRun,
    TimePassed,
    WorkerJoined,
    WorkerLeft,
)

LEASES_PER_WORKER = 1
"""No trial waits behind another while a worker idles; the next lease is one round trip away."""
POLL_S = 0.25

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Landed:
    """What a committed report means to the scheduler and to the worker that sent it."""

    worker_id: WorkerId
    report: Report


class SweepDriver:
    """Runs the trials of a plan to their outcomes.

    Args:
        trials: The plan.
        layout: Of the sweep's root.
        ledger: The open ledger of the sweep's root.
        scheduler: Built from the same plan and ledger.
        pool: The workers.
        adapters: Decides which finished trials' adapters stay.
        tally: Counts for people.
        to_describe: Tasks whose meta-features are not on record yet.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        *,
        layout: RootLayout,
        ledger: Ledger,
        scheduler: Scheduler,
        pool: Workforce,
        adapters: AdapterKeeper,
        tally: Tally,
        to_describe: Sequence[DescribeTask],
    ) -> None:
        self._trials: Mapping[TrialId, Trial] = {trial.trial_id: trial for trial in trials}
        self._layout = layout
        self._ledger = ledger
        self._scheduler = scheduler
        self._pool = pool
        self._adapters = adapters
        self._tally = tally
        self._leases: list[tuple[WorkerId, Lease]] = []
        self._to_describe = deque(to_describe)
        self._describing: dict[TaskId, tuple[WorkerId, DescribeTask]] = {}

    def run(self, *, stop_requested: Callable[[], bool], on_round: Callable[[], None]) -> bool:
        """Work until every trial has an outcome or a stop is asked for.

        Args:
            stop_requested: Asked once a round; after it says yes, what was reported is on disk and the loop
                ends.
            on_round: Called after every round, for displays.

        Returns:
            Whether every trial has an outcome.
        """
        while not self._is_done() and not stop_requested():
            self.round(self._pool.poll(POLL_S))
            on_round()
        self._ledger.commit()
        self._ledger.publish()
        on_round()
        return self._scheduler.is_done

    def _is_done(self) -> bool:
        return self._scheduler.is_done and not self._to_describe and not self._describing

    def round(self, answers: Sequence[Answer]) -> None:
        """Take in what workers said: write it, commit once, then decide."""
        landed: list[_Landed] = []
        for answer in answers:
            if isinstance(answer, WorkerSaid):
                landed += [_Landed(answer.worker_id, r) for r in answer.reports if self._write(r)]
        self._ledger.commit()
        for item in landed:
            self._acknowledge(item)
        for answer in answers:
            if isinstance(answer, WorkerUp):
                logger.info(
                    "worker joined worker=%s device=%s", answer.worker_id, answer.description.get("device")
                )
                self._describe_next(answer.worker_id)
                self._tell(WorkerJoined(answer.worker_id, LEASES_PER_WORKER))
            elif isinstance(answer, WorkerDown):
                self._mourn(answer)
        self._tell(TimePassed())
        self._hand_out()
        self._ledger.publish_if_due()

    def _write(self, report: Report) -> bool:
        """Put a report into the ledger; False if it is of an attempt that lost its lease."""
        try:
            match report:
                case TrialStarted():
                    self._ledger.record_started(report.trial_id, report.attempt)
                case PointMeasured():
                    self._ledger.record_point(report.point)
                case TrialEnded() if report.outcome.is_final:
                    self._ledger.record_result(self._result(report))
                case TrialEnded():
                    self._ledger.record_lost(report.trial_id, report.attempt, report.error or "")
                case TaskDescribed():
                    self._take_description(report)
        except LeaseLostError as err:
            logger.warning("report refused reason=%s", err)
            return False
        return True

    def _result(self, ended: TrialEnded) -> TrialResult:
        progress = self._ledger.progress(ended.trial_id)
        return TrialResult(
            trial=self._trials[ended.trial_id],
            attempt=ended.attempt,
            outcome=ended.outcome,
            epochs=progress.epochs,
            train_s=progress.train_s + ended.unreported_train_s,
            eval_s=progress.eval_s,
            peak_memory_bytes=ended.peak_memory_bytes,
            device=ended.device,
            error=ended.error,
            finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
            provenance=provenance(),
        )

    def _acknowledge(self, item: _Landed) -> None:
        """Tell the scheduler and the worker that a report is on disk."""
        match item.report:
            case TrialStarted(trial_id=trial_id, attempt=attempt):
                self._tell(RunStarted(trial_id, attempt))
            case PointMeasured(point=point):
                self._tally.count_point(point)
                self._pool.send(
                    item.worker_id,
                    Acknowledge(trial_id=point.trial_id, attempt=point.attempt, epoch=point.epoch),
                )
                self._tell(PointLanded(point.trial_id, point.attempt, point.epoch, _metrics(point)))
            case TrialEnded() as ended:
                if ended.outcome.is_final:
                    self._pool.send(item.worker_id, Release(trial_id=ended.trial_id, attempt=ended.attempt))
                    self._finish(ended.trial_id, ended.outcome)
                self._tell(RunEnded(ended.trial_id, ended.attempt, ended.outcome))
            case TaskDescribed():
                self._describe_next(item.worker_id)

    def _describe_next(self, worker_id: WorkerId) -> None:
        """Give a worker a task to describe, one at a time so that all workers share them."""
        if self._to_describe:
            command = self._to_describe.popleft()
            self._describing[command.task_id] = (worker_id, command)
            self._pool.send(worker_id, command)

    def _take_description(self, described: TaskDescribed) -> None:
        self._describing.pop(described.task_id, None)
        if described.record is not None:
            self._ledger.record_task(described.record)
        else:
            logger.error("task not described task=%s error=%s", described.task_id, described.error)

    def _finish(self, trial_id: TrialId, outcome: Outcome) -> None:
        # The worker is told to do so too, but the last trial's worker may never hear of it.
        shutil.rmtree(self._layout.checkpoint_dir(trial_id), ignore_errors=True)
        self._tally.count_outcome(self._trials[trial_id], outcome)
        self._adapters.finished(self._trials[trial_id], outcome)

    def _mourn(self, down: WorkerDown) -> None:
        for trial_id in self._scheduler.leases_of(down.worker_id):
            self._ledger.record_lost(trial_id, self._scheduler.current_attempt(trial_id), down.reason)
        for task_id, (worker_id, command) in list(self._describing.items()):
            if worker_id == down.worker_id:
                del self._describing[task_id]
                self._to_describe.append(command)
        self._tell(WorkerLeft(down.worker_id, down.blames_trial, down.reason))

    def _tell(self, event: Event) -> None:
        for instruction in self._scheduler.handle(event, now_s=time.monotonic()):
            self._carry_out(instruction)

    def _carry_out(self, instruction: Instruction) -> None:
        match instruction:
            case Grant():
                self._grant(instruction)
            case ExtendRun(trial_id, attempt, worker_id, until):
                self._pool.send(worker_id, Extend(trial_id=trial_id, attempt=attempt, run_until_epoch=until))
            case StopRun(trial_id, attempt, worker_id):
                self._pool.send(worker_id, Stop(trial_id=trial_id, attempt=attempt))
            case Conclude():
                self._conclude(instruction)

    def _grant(self, grant: Grant) -> None:
        attempt = self._ledger.grant(grant.trial_id, grant.worker_id)
        if attempt != grant.attempt:
            raise AssertionError(
                f"scheduler granted attempt {grant.attempt} of {grant.trial_id}, ledger {attempt}"
            )
        lease = Lease(
            trial=self._trials[grant.trial_id],
            attempt=grant.attempt,
            run_until_epoch=grant.run_until_epoch,
            committed_epochs=self._ledger.progress(grant.trial_id).epochs,
            keep_adapter=self._adapters.keeps_any,
        )
        self._leases.append((grant.worker_id, lease))

    def _hand_out(self) -> None:
        """Send the leases of this round, once they are on disk: what ran is always what was granted."""
        self._ledger.commit()
        for worker_id, lease in self._leases:
            self._pool.send(worker_id, Assign(leases=(lease,)))
        self._leases.clear()

    def _conclude(self, conclusion: Conclude) -> None:
        """Record an outcome that no worker reports."""
        ended = TrialEnded(
            trial_id=conclusion.trial_id,
            attempt=conclusion.attempt,
            outcome=conclusion.outcome,
            epochs=self._ledger.progress(conclusion.trial_id).epochs,
            unreported_train_s=0.0,
            peak_memory_bytes=0,
            device="",
            error=conclusion.reason,
        )
        self._ledger.record_result(self._result(ended))
        self._ledger.commit()
        self._finish(conclusion.trial_id, conclusion.outcome)


def _metrics(point: CurvePoint) -> Mapping[str, float]:
    return {"eval_loss": point.eval_loss, "eval_exact_match": point.eval_exact_match}
