"""What a driver and its workers say to one another.

Every message may come twice, late or never: each names its trial and attempt, and whoever receives one of an
older attempt drops it. Commands go to a worker, reports come back, both in batches over one call
(``exchange``), so that a light trial costs no round trip for each of its epochs.
"""

from dataclasses import dataclass

from orchestrator.contracts.ids import TaskId, TrialId
from orchestrator.contracts.records import CurvePoint, Outcome, TaskRecord, TrainingSettings, Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to run one attempt of a trial, until an epoch."""

    trial: Trial
    attempt: int
    run_until_epoch: int
    """The worker may train on to this epoch unasked; there it waits for ``Extend`` or ``Stop``."""
    committed_epochs: int
    """Epochs already on record; their rows need not be reported again."""
    keep_adapter: bool
    """Whether the adapter of the epoch with the lowest validation loss is exported when the trial ends."""
    spent_s: float = 0.0
    """Seconds of training and evaluation on record."""
    time_limit_s: float | None = None
    """Seconds of training and evaluation after which the trial has timed out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assign:
    """Take these trials, as one pack where the trainer can."""

    leases: tuple[Lease, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Extend:
    """Train on, to this epoch."""

    trial_id: TrialId
    attempt: int
    run_until_epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """End the trial after the epoch in hand; its outcome is ``stopped``."""

    trial_id: TrialId
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Let go of the trial after the epoch in hand; its checkpoint stays, and it has no outcome."""

    trial_id: TrialId
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledge:
    """The rows up to this epoch are on disk: checkpoints before it are no longer needed."""

    trial_id: TrialId
    attempt: int
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The trial's outcome is on disk: remove what was kept to continue it."""

    trial_id: TrialId
    attempt: int
    keep_state: bool = False
    """Keep the newest checkpoint all the same, so that a longer plan can continue the trial."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeTask:
    """Measure a task's meta-features with the base model, when the trials queued before are done."""

    task_id: TaskId
    source: str
    name: str
    base_model: str
    settings: TrainingSettings


Command = Assign | Extend | Stop | Pause | Acknowledge | Release | DescribeTask


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialStarted:
    """The worker has begun, or resumed, this attempt."""

    trial_id: TrialId
    attempt: int
    from_epoch: int
    """Epochs restored from a checkpoint; 0 for a fresh start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PointMeasured:
    """One epoch is trained, evaluated and checkpointed."""

    point: CurvePoint


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialEnded:
    """The attempt is over; what it measured came before this message."""

    trial_id: TrialId
    attempt: int
    outcome: Outcome
    epochs: int
    """The last epoch reported, by this attempt or those before it."""
    unreported_train_s: float
    """Training seconds of an epoch that left no row."""
    peak_memory_bytes: int
    device: str
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialPaused:
    """The worker has let go of the attempt, as it was told; what it measured came before this message."""

    trial_id: TrialId
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDescribed:
    """A task's row, or why there is none."""

    task_id: TaskId
    record: TaskRecord | None
    error: str | None


Report = TrialStarted | PointMeasured | TrialEnded | TrialPaused | TaskDescribed
