"""Between a trainer and whoever leads it: where measurements go, and who says how far to train."""

import enum
from typing import Protocol

from orchestrator.contracts import Report, TrialId


class Decision(enum.Enum):
    """What becomes of a trial after an epoch."""

    TRAIN_ON = "train_on"
    STOP = "stop"
    """End it; the outcome is ``stopped``."""
    ABANDON = "abandon"
    """The attempt is no longer wanted: write and report nothing more."""


class TrainerControl(Protocol):
    """Led by a worker session; in a notebook, by twenty lines."""

    def report(self, report: Report) -> None:
        """Take a report; those of one trial come in the order of its epochs."""

    def peek(self, trial_id: TrialId, attempt: int, epoch: int) -> Decision | None:
        """Say, without waiting, whether to train beyond an epoch; None while that is not decided."""

    def wait(self, trial_id: TrialId, attempt: int, epoch: int) -> Decision:
        """Say whether to train beyond an epoch; wait where that is not decided.

        A trainer asks after every epoch but the last, so that an early stop is heard.
        """

    def acknowledged_epoch(self, trial_id: TrialId, attempt: int) -> int:
        """Return the epoch up to which the rows are on record."""
