"""How far each candidate of a task has come: what the methods that look at results keep count of."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from surrogates.data.normalisation import Array, to_loss
from surrogates.stepwise import Point, Problem, Step


@dataclass(slots=True)
class Progress:
    """Candidates by what was run of them, P in the problem's order.

    Args:
        problem: The new task.
    """

    problem: Problem
    epochs: NDArray[np.int64] = field(init=False)
    """Epochs run, shape ``(P,)``."""
    failed: NDArray[np.bool_] = field(init=False)
    """Whether a candidate can't be trained any further, shape ``(P,)``."""
    _best: Array = field(init=False)
    """Lowest loss up to each epoch, ``inf`` before there is one; shape ``(P, max_epochs)``."""

    def __post_init__(self) -> None:
        count = len(self.problem.candidates)
        self.epochs = np.zeros(count, dtype=np.int64)
        self.failed = np.zeros(count, dtype=bool)
        self._best = np.full((count, self.problem.max_epochs), np.inf)

    def record(self, step: Step, points: Sequence[Point], *, failed: bool) -> None:
        """Take what came of a step; arguments as ``Optimiser.tell`` has them.

        A value that is not finite takes back what the candidate reached before: a trial that diverged leaves
        nothing to use. One that just ends early keeps it.
        """
        best = self._best[step.candidate]
        values = np.array([point.value for point in points], dtype=float)
        for point, loss in zip(points, to_loss(values, self.problem.direction), strict=True):
            best[point.epoch - 1 :] = np.minimum(best[point.epoch - 1 :], loss)
        if not np.isfinite(values).all():
            best[:] = np.inf
        self.epochs[step.candidate] = step.epochs
        self.failed[step.candidate] |= failed

    def below(self, epochs: int) -> NDArray[np.bool_]:
        """Return which candidates have fewer epochs than these and did not fail; shape ``(P,)``."""
        return np.asarray(~self.failed & (self.epochs < epochs))

    @property
    def is_over(self) -> bool:
        """Whether every candidate failed or is at the largest fidelity."""
        return not self.below(self.problem.max_epochs).any()

    def losses(self, epochs: int) -> Array:
        """Return every candidate's lowest loss up to an epoch.

        Args:
            epochs: From 1 to the largest fidelity; one with fewer epochs counts as it stands.

        Returns:
            Shape ``(P,)``; ``inf`` where there is none.
        """
        return self._best[:, epochs - 1]

    def loss(self, candidate: int, epochs: int) -> float:
        """Return one candidate's lowest loss up to an epoch; ``inf`` where it has none."""
        return float(self._best[candidate, epochs - 1])
