"""What can go wrong while a meta-dataset is written, classed by what the caller does next."""

from orchestrator.contracts import LeaseLostError, OrchestrationError, SweepInterruptedError


class StorageError(SweepInterruptedError):
    """A write did not happen; nothing is lost and the same call may be made again once the cause is gone."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return (
            f"{self.path} can't be written: {self.reason}; rows acknowledged before are safe: "
            "remove the cause, then resume"
        )


class CommitUnknownError(SweepInterruptedError):
    """Whether the last rows are on disk is not known: write nothing more; opening again settles it."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return (
            f"{self.path}: it is not known whether the last rows are on disk ({self.reason}); "
            "rows acknowledged before are safe: remove the cause, then resume"
        )


class LeaseEndedError(LeaseLostError):
    """The attempt is the trial's newest, but it is over: stop without writing."""

    def __init__(self, trial_id: str, attempt: int, how: str) -> None:
        super().__init__(trial_id, attempt, attempt)
        self.args = (trial_id, attempt, how)
        self.how = how

    def __str__(self) -> str:
        return f"trial {self.trial_id}: attempt {self.attempt} is over ({self.how}); stop without writing"


class CurveGapError(OrchestrationError):
    """An epoch was reported before the one that precedes it: train on from the last epoch on record."""

    def __init__(self, trial_id: str, epoch: int, epochs_on_record: int) -> None:
        super().__init__(trial_id, epoch, epochs_on_record)
        self.trial_id, self.epoch, self.epochs_on_record = trial_id, epoch, epochs_on_record

    def __str__(self) -> str:
        return (
            f"trial {self.trial_id}: epoch {self.epoch} can't follow epoch {self.epochs_on_record}, "
            "the last on record; continue from there"
        )
