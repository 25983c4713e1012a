"""What the scheduler is told, and what it tells: values, nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.contracts import Outcome, TrialId, WorkerId


@dataclass(frozen=True, slots=True)
class WorkerJoined:
    """A worker is ready to train."""

    worker_id: WorkerId
    capacity: int
    """Leases it may hold at once: those it trains, and those that wait so that it never idles."""


@dataclass(frozen=True, slots=True)
class CapacityChanged:
    """A worker may hold more leases than before, or fewer; those it holds stay with it."""

    worker_id: WorkerId
    capacity: int


@dataclass(frozen=True, slots=True)
class WorkerLeft:
    """A worker is gone; its leases come back."""

    worker_id: WorkerId
    blames_trial: bool
    """Whether the trial in hand may have killed it (its process died), as against a lost node or a drain."""
    reason: str


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A worker has begun a lease."""

    trial_id: TrialId
    attempt: int


@dataclass(frozen=True, slots=True)
class PointLanded:
    """A curve point is on disk."""

    trial_id: TrialId
    attempt: int
    epoch: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class RunEnded:
    """An attempt ended with an outcome."""

    trial_id: TrialId
    attempt: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class RunPaused:
    """A worker has let go of an attempt; the trial has no outcome."""

    trial_id: TrialId
    attempt: int


@dataclass(frozen=True, slots=True)
class TimePassed:
    """Nothing happened; trials that were backing off may be due."""


@dataclass(frozen=True, slots=True)
class DrainRequested:
    """Grant nothing more, and let what runs pause after the epoch in hand."""


Event = (
    WorkerJoined
    | CapacityChanged
    | WorkerLeft
    | RunStarted
    | PointLanded
    | RunEnded
    | RunPaused
    | TimePassed
    | DrainRequested
)


@dataclass(frozen=True, slots=True)
class Grant:
    """Lease a trial to a worker as a new attempt."""

    trial_id: TrialId
    attempt: int
    worker_id: WorkerId
    run_until_epoch: int


@dataclass(frozen=True, slots=True)
class ExtendRun:
    """Let a trial that waits at its milestone train on."""

    trial_id: TrialId
    attempt: int
    worker_id: WorkerId
    run_until_epoch: int


@dataclass(frozen=True, slots=True)
class StopRun:
    """End a trial at the epoch it reached."""

    trial_id: TrialId
    attempt: int
    worker_id: WorkerId


@dataclass(frozen=True, slots=True)
class PauseRun:
    """Let go of a trial after the epoch in hand; it keeps its state and goes on later."""

    trial_id: TrialId
    attempt: int
    worker_id: WorkerId


@dataclass(frozen=True, slots=True)
class Conclude:
    """Record an outcome that no worker will report."""

    trial_id: TrialId
    attempt: int
    outcome: Outcome
    reason: str | None


Instruction = Grant | ExtendRun | StopRun | PauseRun | Conclude
