"""Leading one attempt of a live trial: its rows go to the ledger, and it is paused where no more is asked."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from orchestrator.app.recorder import ReportRecorder
from orchestrator.contracts import PointMeasured, Report, TrialEnded, TrialId, WorkerId
from orchestrator.metadataset.ledger import Ledger
from workers.training.control import Decision

Row = Mapping[str, Any]
"""One row of the curves."""


@dataclass(slots=True, kw_only=True)
class LiveControl:
    """A trainer's control for one attempt, in the thread that trains."""

    ledger: Ledger
    recorder: ReportRecorder
    worker_id: WorkerId
    until: int
    """The last epoch that is asked for."""
    within_s: float
    """Seconds after which no further epoch is."""
    seconds: Callable[[Row], float]
    """What an epoch is charged."""
    on_cpu: bool
    rows: list[Row] = field(default_factory=list)
    """Epochs that have come, in order."""
    ended: TrialEnded | None = None
    _spent_s: float = 0.0
    _cpu_s: float = field(default_factory=time.process_time)
    """CPU seconds of the process when the last report came."""

    def report(self, report: Report) -> None:
        """Put a report on disk."""
        if isinstance(report, TrialEnded):
            report = self.ended = self._charged(report)
        self.recorder.take(report, self.worker_id)
        self.ledger.commit()
        if isinstance(report, PointMeasured):
            row = asdict(report.point)
            self.rows.append(row)
            self._spent_s += self.seconds(row)
        self.ledger.publish_if_due()
        self._cpu_s = time.process_time()

    def peek(self, trial_id: TrialId, attempt: int, epoch: int) -> Decision | None:
        """Say whether to train beyond an epoch."""
        return self.wait(trial_id, attempt, epoch)

    def wait(self, trial_id: TrialId, attempt: int, epoch: int) -> Decision:
        """Say whether to train beyond an epoch."""
        goes_on = epoch < self.until and self._spent_s < self.within_s
        return Decision.TRAIN_ON if goes_on else Decision.PAUSE

    def beat(self) -> None:
        """Need no sign of life: whoever waits is the thread itself."""

    def acknowledged_epoch(self, trial_id: TrialId, attempt: int) -> int:
        """Return the epoch up to which the rows are on record."""
        return self.ledger.progress(trial_id).epochs

    def _charged(self, ended: TrialEnded) -> TrialEnded:
        """Charge an epoch that left no row as those that did: others' share of a CPU is not the config's."""
        if not self.on_cpu:
            return ended
        own_s = time.process_time() - self._cpu_s
        return replace(ended, unreported_train_s=min(ended.unreported_train_s, own_s))
