"""Choosing step by step: the words that every method speaks, ours and those it is compared with.

A method learns from the past tasks, outside any clock; ``start`` gives it the new task, and from then on its
own time counts. A step says which config to train until which epoch; what that config already has is kept, so
that a later step of the same config with more epochs continues it and costs only the new ones.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from orchestrator.contracts import Config
from surrogates.data.normalisation import Direction
from surrogates.metadataset import MetaDataset


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A new task, as a method may know it before anything was run there."""

    features: Mapping[str, float]
    """Meta-features; NaN where not measured."""
    candidates: tuple[Config, ...]
    """The configs that can be run; at least one."""
    budget_s: float
    """Seconds of training and evaluation."""
    max_epochs: int
    direction: Direction


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What to run next."""

    candidate: int
    """Position among the problem's candidates."""
    epochs: int
    """Train until this epoch, from 1; more than the candidate has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One epoch that was run."""

    epoch: int
    value: float
    """The metric as it is measured; NaN where the trial failed in this epoch."""
    cost_s: float
    """Of this epoch alone."""


class Optimiser(Protocol):
    """A method at work on one task; one call at a time."""

    def ask(self) -> Step | None:
        """Return what to run next; None when nothing is left that is worth running."""
        ...

    def tell(self, step: Step, points: Sequence[Point], *, failed: bool) -> None:
        """Take what came of a step.

        Args:
            step: As it was asked.
            points: The new epochs, in order; fewer than asked for where the trial failed.
            failed: Whether the candidate can't be trained any further.
        """
        ...


Start = Callable[[Problem], Optimiser]
"""What a method has learned, ready for any task."""


class Method(Protocol):
    """A way of choosing. Its name is unique in a comparison."""

    @property
    def name(self) -> str:
        """Name in tables and plots."""
        ...

    @property
    def uses_budget(self) -> bool:
        """Whether the order of steps depends on the budget; otherwise one replay serves all budgets."""
        ...

    def learn(self, others: MetaDataset, *, seed: int) -> Start:
        """Learn from the past tasks; outside the clock.

        Args:
            others: The meta-dataset without the task that comes.
            seed: The same seed gives the same choices.

        Returns:
            What starts the method on a task.
        """
        ...


@dataclass(slots=True)
class Sequenced:
    """An optimiser whose steps are known beforehand, whatever comes of them."""

    steps: Sequence[Step]
    _next: int = 0

    def ask(self) -> Step | None:
        """Return the next step."""
        if self._next >= len(self.steps):
            return None
        self._next += 1
        return self.steps[self._next - 1]

    def tell(self, step: Step, points: Sequence[Point], *, failed: bool) -> None:
        """Ignore what came of it."""
