"""The loop that runs a sweep: reports in, rows to disk, decisions, commands out.

One thread owns the ledger, the scheduler and the pool. A round takes what the workers said, writes all of it
with one commit, and only then lets the scheduler judge and the workers know: nothing is decided,
acknowledged or removed on the strength of a row that is not on disk.
"""

import logging
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from orchestrator.app.adapters import AdapterKeeper
from orchestrator.app.leases import LeaseSizing
from orchestrator.app.recorder import ReportRecorder, UndescribedTasks
from orchestrator.app.tally import Tally
from orchestrator.app.workforce import Answer, WorkerDown, WorkerSaid, WorkerUp, Workforce
from orchestrator.contracts import (
    Acknowledge,
    Assign,
    Command,
    CurvePoint,
    DescribeTask,
    Extend,
    Lease,
    Outcome,
    Pause,
    PointMeasured,
    Release,
    Report,
    Stop,
    TaskDescribed,
    TaskId,
    Trial,
    TrialEnded,
    TrialId,
    TrialPaused,
    TrialStarted,
    WorkerId,
)
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.ledger import Ledger
from orchestrator.scheduling import (
    CapacityChanged,
    Conclude,
    DrainRequested,
    Event,
    ExtendRun,
    Grant,
    Instruction,
    PauseRun,
    PointLanded,
    RunEnded,
    RunPaused,
    RunStarted,
    Scheduler,
    StopRun,
    TimePassed,
    WorkerJoined,
    WorkerLeft,
)

POLL_S = 0.25
RULE_METRICS = ("train_loss", "eval_loss", "eval_exact_match", "eval_token_f1")
"""What stopping rules may judge by; never the test split."""
POINT_COLUMNS = ("trial_id", "attempt", "epoch", *RULE_METRICS)
_LOG_TAIL_CHARS = 2000
"""Of a dead worker's log, kept with a trial that is set aside."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Landed:
    """What a committed report means to the scheduler and to the worker that sent it."""

    worker_id: WorkerId
    report: Report


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialTerms:
    """What a sweep grants each of its trials, and what it keeps of them."""

    time_limit_s: float | None = None
    """Seconds of training and evaluation after which a trial has timed out."""
    keep_checkpoints: bool = False
    """Whether a finished trial's newest checkpoint stays, so that a longer plan can continue it."""


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
        terms: What a trial is granted.
        data_revisions: Of tasks read from the hub: the commit, for their trials' rows.
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
        terms: TrialTerms = TrialTerms(),
        data_revisions: Mapping[TaskId, str] = MappingProxyType({}),
    ) -> None:
        self._trials: Mapping[TrialId, Trial] = {trial.trial_id: trial for trial in trials}
        self._layout = layout
        self._ledger = ledger
        self._scheduler = scheduler
        self._pool = pool
        self._adapters = adapters
        self._tally = tally
        self._terms = terms
        self._sizing = LeaseSizing()
        self._is_draining = False
        self._commands: list[tuple[WorkerId, Command]] = []
        self._recorder = ReportRecorder(ledger, self._trials, data_revisions=data_revisions)
        self._undescribed = UndescribedTasks(to_describe)

    def run(
        self,
        *,
        stop_requested: Callable[[], bool],
        on_round: Callable[[], None],
        hurry_requested: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Work until every trial has an outcome, or a stop is asked for and no trial runs any more.

        Args:
            stop_requested: Asked once a round; after it says yes nothing more is begun, and every trial that
                runs is paused after the epoch in hand.
            on_round: Called after every round, for displays.
            hurry_requested: Asked once a round; after it says yes a stop no longer waits for running epochs.

        Returns:
            Whether every trial has an outcome.
        """
        while not self._is_done():
            if not self._is_draining and stop_requested():
                logger.info("draining running=%d", self._scheduler.counts()["running"])
                self._is_draining = True
                self._recorder.reason_to_pause = "the sweep is drained"
                self._tell(DrainRequested())
            if self._is_draining and (self._scheduler.is_idle or hurry_requested()):
                break
            self.round(self._pool.poll(POLL_S))
            on_round()
        self._ledger.commit()
        self._ledger.publish()
        on_round()
        return self._scheduler.is_done

    @property
    def is_draining(self) -> bool:
        """Whether a stop was asked for: nothing more is begun."""
        return self._is_draining

    def _is_done(self) -> bool:
        return self._scheduler.is_done and self._undescribed.is_empty

    def round(self, answers: Sequence[Answer]) -> None:
        """Take in what workers said: write it, commit once, then decide."""
        landed: list[_Landed] = []
        for answer in answers:
            if isinstance(answer, WorkerSaid):
                worker_id, take = answer.worker_id, self._recorder.take
                landed += [_Landed(worker_id, r) for r in answer.reports if take(r, worker_id)]
        self._ledger.commit()
        self._acknowledge_points(landed)
        for item in landed:
            self._heed(item)
        self._resize_leases(landed)
        for answer in answers:
            if isinstance(answer, WorkerUp):
                about = [f"{name}={answer.description.get(name)}" for name in ("host", "pid", "device_name")]
                logger.info("worker joined worker=%s %s", answer.worker_id, " ".join(about))
                self._recorder.meet(answer.worker_id, answer.description)
                self._send_task(answer.worker_id)
                self._tell(WorkerJoined(answer.worker_id, self._sizing.join(answer.worker_id)))
            elif isinstance(answer, WorkerDown):
                self._mourn(answer)
        self._tell(TimePassed())
        self._hand_out()
        self._ledger.publish_if_due()

    def _acknowledge_points(self, landed: Sequence[_Landed]) -> None:
        """Tell workers up to which epoch the rows of each trial are on disk: one message a trial."""
        epochs: dict[tuple[WorkerId, TrialId, int], int] = {}
        for item in landed:
            if isinstance(item.report, PointMeasured):
                point = item.report.point
                epochs[item.worker_id, point.trial_id, point.attempt] = point.epoch
            elif isinstance(item.report, TrialEnded) and item.report.outcome.is_final:
                # It is released below, and the worker asks no more.
                epochs.pop((item.worker_id, item.report.trial_id, item.report.attempt), None)
        for (worker_id, trial_id, attempt), epoch in epochs.items():
            self._pool.send(worker_id, Acknowledge(trial_id=trial_id, attempt=attempt, epoch=epoch))

    def _heed(self, item: _Landed) -> None:
        """Act on a report that is on disk."""
        match item.report:
            case TrialStarted(trial_id=trial_id, attempt=attempt):
                self._tell(RunStarted(trial_id, attempt))
            case PointMeasured(point=point):
                self._tally.count_point(point)
                self._tell(point_landed(point))
            case TrialEnded() as ended:
                if ended.outcome.is_final:
                    release = Release(
                        trial_id=ended.trial_id,
                        attempt=ended.attempt,
                        keep_state=self._terms.keep_checkpoints,
                    )
                    self._pool.send(item.worker_id, release)
                    self._finish(ended.trial_id, ended.outcome)
                self._tell(RunEnded(ended.trial_id, ended.attempt, ended.outcome))
            case TrialPaused(trial_id=trial_id, attempt=attempt):
                self._tell(RunPaused(trial_id, attempt))
            case TaskDescribed(task_id=task_id):
                self._undescribed.done(task_id)
                self._send_task(item.worker_id)

    def _send_task(self, worker_id: WorkerId) -> None:
        """Give a worker the next task to describe, if there is one."""
        command = self._undescribed.next_for(worker_id)
        if command is not None:
            self._pool.send(worker_id, command)

    def _resize_leases(self, landed: Sequence[_Landed]) -> None:
        """Let workers whose trials take no time hold more of them."""
        ended = Counter(item.worker_id for item in landed if isinstance(item.report, TrialEnded))
        for worker_id, trials in ended.items():
            capacity = self._sizing.ended(worker_id, trials)
            if capacity is not None:
                self._tell(CapacityChanged(worker_id, capacity))

    def _finish(self, trial_id: TrialId, outcome: Outcome) -> None:
        # The worker is told to do so too, but the last trial's worker may never hear of it.
        if not self._terms.keep_checkpoints:
            shutil.rmtree(self._layout.checkpoint_dir(trial_id), ignore_errors=True)
        self._tally.count_outcome(self._trials[trial_id], outcome)
        self._adapters.finished(self._trials[trial_id], outcome)

    def _mourn(self, down: WorkerDown) -> None:
        for trial_id in self._scheduler.leases_of(down.worker_id):
            self._ledger.record_lost(trial_id, self._scheduler.current_attempt(trial_id), down.reason)
        self._undescribed.give_back(down.worker_id)
        self._sizing.leave(down.worker_id)
        reason = down.reason + self._log_tail(down.worker_id) if down.blames_trial else down.reason
        self._tell(WorkerLeft(down.worker_id, down.blames_trial, reason))

    def _log_tail(self, worker_id: WorkerId) -> str:
        try:
            text = self._layout.worker_log(worker_id).read_text(errors="replace")
        except OSError:
            return ""
        return f"\nThe end of its log:\n{text[-_LOG_TAIL_CHARS:].strip()}" if text.strip() else ""

    def _tell(self, event: Event) -> None:
        for instruction in self._scheduler.handle(event, now_s=time.monotonic()):
            self._carry_out(instruction)

    def _carry_out(self, instruction: Instruction) -> None:
        match instruction:
            case Grant():
                self._grant(instruction)
            case ExtendRun(trial_id, attempt, worker_id, until):
                extend = Extend(trial_id=trial_id, attempt=attempt, run_until_epoch=until)
                self._commands.append((worker_id, extend))
            case StopRun(trial_id, attempt, worker_id):
                # Behind its lease, if that was granted in this round.
                self._commands.append((worker_id, Stop(trial_id=trial_id, attempt=attempt)))
            case PauseRun(trial_id, attempt, worker_id):
                self._commands.append((worker_id, Pause(trial_id=trial_id, attempt=attempt)))
            case Conclude():
                self._conclude(instruction)

    def _grant(self, grant: Grant) -> None:
        progress = self._ledger.progress(grant.trial_id)
        attempt = self._ledger.grant(grant.trial_id, grant.worker_id, reopen=progress.outcome is not None)
        if attempt != grant.attempt:
            raise AssertionError(
                f"scheduler granted attempt {grant.attempt} of {grant.trial_id}, ledger {attempt}"
            )
        lease = Lease(
            trial=self._trials[grant.trial_id],
            attempt=grant.attempt,
            run_until_epoch=grant.run_until_epoch,
            committed_epochs=progress.epochs,
            keep_adapter=self._adapters.keeps_any,
            spent_s=progress.train_s + progress.eval_s,
            time_limit_s=self._terms.time_limit_s,
        )
        self._commands.append((grant.worker_id, Assign(leases=(lease,))))

    def _hand_out(self) -> None:
        """Send the commands of this round, once its grants are on disk: what runs was always granted."""
        self._ledger.commit()
        for worker_id, command in self._commands:
            self._pool.send(worker_id, command)
        self._commands.clear()

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
        self._ledger.record_result(self._recorder.result_of(ended))
        self._ledger.commit()
        self._finish(conclusion.trial_id, conclusion.outcome)


def point_landed(point: CurvePoint) -> PointLanded:
    """Return what the scheduler is told of a point that is on disk; a row of the curves table will do too."""
    metrics = {name: getattr(point, name) for name in RULE_METRICS}
    return PointLanded(point.trial_id, point.attempt, point.epoch, metrics)
