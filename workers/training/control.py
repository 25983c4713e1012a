"""Between a trainer and whoever leads it: where measurements go, and who says how far to train."""

import enum
from collections.abc import Mapping, Sequence
from typing import Protocol

from orchestrator.contracts import DescribeTask, Lease, Report, TaskRecord, TrialId


class Decision(enum.Enum):
    """What becomes of a trial after an epoch."""

    TRAIN_ON = "train_on"
    STOP = "stop"
    """End it; the outcome is ``stopped``."""
    PAUSE = "pause"
    """Let go of it, its checkpoint kept, and say so; it has no outcome."""
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

    def beat(self) -> None:
        """Take note that the training thread is alive: after every optimizer step and evaluated batch."""

    def acknowledged_epoch(self, trial_id: TrialId, attempt: int) -> int:
        """Return the epoch up to which the rows are on record."""


class PackTrainer(Protocol):
    """What a worker session trains with."""

    def prepare(self) -> None:
        """Set up the thread that will train; called there once, before anything else."""

    def train(self, pack: Sequence[Lease], control: TrainerControl) -> None:
        """Train the leased trials until each has ended, was paused, or is no longer wanted."""

    def describe(self, command: DescribeTask) -> TaskRecord:
        """Measure a task's meta-features."""

    def release(self, trial_id: TrialId, attempt: int) -> None:
        """Remove what was kept to continue a trial, by this attempt and those before it."""

    def facts(self) -> Mapping[str, str]:
        """Return what it trains on: part of the provenance of its trials."""
