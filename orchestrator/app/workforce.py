"""What a driver needs of its workers, whoever provides them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from orchestrator.contracts import Command, Report, WorkerId


@dataclass(frozen=True, slots=True)
class WorkerUp:
    """A worker is ready."""

    worker_id: WorkerId
    description: dict[str, str]


@dataclass(frozen=True, slots=True)
class WorkerDown:
    """A worker is gone; another is on its way."""

    worker_id: WorkerId
    reason: str
    blames_trial: bool
    """Whether the trial in hand may have killed it, as against a lost node."""


@dataclass(frozen=True, slots=True)
class WorkerSaid:
    """A worker's reports, in the order in which it made them."""

    worker_id: WorkerId
    reports: Sequence[Report]


Answer = WorkerUp | WorkerDown | WorkerSaid


class Workforce(Protocol):
    """A number of workers, kept up whatever dies."""

    def __len__(self) -> int:
        """Return how many there are, those that are being started included."""

    def send(self, worker_id: WorkerId, command: Command) -> None:
        """Queue a command for a worker; dropped if the worker is gone."""

    def poll(self, timeout_s: float) -> list[Answer]:
        """Deliver what is queued and collect what workers said, waiting so long for the first of it."""

    def close(self) -> None:
        """End all workers at once."""
