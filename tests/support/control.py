"""A trainer's leader for tests: remembers the reports, and stops where it was told to."""

from dataclasses import dataclass, field

from orchestrator.contracts import CurvePoint, PointMeasured, Report, TrialEnded, TrialId
from workers.training.control import Decision


@dataclass(slots=True)
class RecordingControl:
    """Lets a trial run to its end, or to ``stop_at``; rows are on record as soon as they are reported."""

    stop_at: int | None = None
    reports: list[Report] = field(default_factory=list)

    def report(self, report: Report) -> None:
        self.reports.append(report)

    def peek(self, trial_id: TrialId, attempt: int, epoch: int) -> Decision | None:
        return Decision.STOP if self.stop_at is not None and epoch >= self.stop_at else Decision.TRAIN_ON

    def wait(self, trial_id: TrialId, attempt: int, epoch: int) -> Decision:
        decision = self.peek(trial_id, attempt, epoch)
        assert decision is not None
        return decision

    def beat(self) -> None:
        """Need no sign of life."""

    def acknowledged_epoch(self, trial_id: TrialId, attempt: int) -> int:
        return max((point.epoch for point in self.points if point.trial_id == trial_id), default=0)

    @property
    def points(self) -> list[CurvePoint]:
        return [report.point for report in self.reports if isinstance(report, PointMeasured)]

    @property
    def ended(self) -> TrialEnded:
        (end,) = [report for report in self.reports if isinstance(report, TrialEnded)]
        return end
