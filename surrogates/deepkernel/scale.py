"""From the raw losses of a new task, whose location and scale nobody knows, to the scores that models speak.

| symbol | meaning |
|---|---|
| score | a − b·loss, with b above 0 |
| m, v | mean and variance of a point's score, as the model tells them before anything was run |

The points' losses have the density N(a − b·loss; m, v)·b; integrating ``a`` out leaves n − 1 factors b. The
past tasks' slopes are the prior of log b, with heavy tails, so that a task in other units is soon read in
its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from surrogates.data.normalisation import Array, TaskScale

_TAIL = 3.0
"""Degrees of freedom of Student's t."""
_LEAST_SPREAD = 0.3
"""Of log slopes between tasks."""
_REACH = 14.0
"""Natural logarithms around prior and data in which the slope is sought."""
_COARSE, _FINE = 561, 101
_FAR = 4.0
"""Losses count at most so many times as far beyond the median as that is from the best."""
BOUND = 3.5
"""Scores of new points lie between minus this and this, as those of a few thousand past points do."""


@dataclass(frozen=True, slots=True)
class SlopePrior:
    """What past tasks say of log b."""

    centre: float
    spread: float

    @classmethod
    def of(cls, scales: Sequence[TaskScale]) -> "SlopePrior":
        """Learn from the past tasks' scales; 0 with a wide spread where none has two different losses."""
        logs = [np.log(slope) for slope in map(_slope, scales) if slope > 0]
        if not logs:
            return cls(0.0, _REACH / 2)
        return cls(float(np.median(logs)), max(float(np.std(logs)), _LEAST_SPREAD))


@dataclass(frozen=True, slots=True)
class LossScale:
    """Reads losses of the new task as scores."""

    offset: float
    slope: float
    cap: float
    """Losses above it count as it."""

    @classmethod
    def fitted(cls, losses: Array, means: Array, variances: Array, prior: SlopePrior) -> "LossScale":
        """Find the map under which the points are likeliest.

        Args:
            losses: Of the points seen, finite, shape ``(n,)`` with n at least 1.
            means: Their scores as foretold, shape ``(n,)``.
            variances: Of these scores, positive, shape ``(n,)``.
            prior: Of the slope.

        Returns:
            The map.
        """
        cap = _cap(losses)
        capped = np.minimum(losses, cap)
        weights = 1.0 / variances
        shares = weights / weights.sum()
        # Everything around the weighted means: the best offset for any slope is then known.
        loss, score = capped - shares @ capped, means - shares @ means
        squares = np.array([weights @ loss**2, weights @ (loss * score)])

        def cost(logs: Array) -> Array:
            """Return the negative log posterior at these log slopes, up to a constant."""
            # By the logarithm: the slope of losses that hardly differ has a square beyond all numbers.
            ahead = np.exp(2.0 * logs + np.log(squares[0])) if squares[0] > 0 else 0.0
            misfit = 0.5 * ahead + np.exp(logs) * squares[1]
            unusual = ((logs - prior.centre) / prior.spread) ** 2
            return np.asarray(
                misfit - (len(losses) - 1) * logs + 0.5 * (_TAIL + 1.0) * np.log1p(unusual / _TAIL)
            )

        ends = [prior.centre]
        if squares[0] > 0:
            ends.append(0.5 * (np.log(len(losses)) - np.log(squares[0])))
        grid = np.linspace(min(ends) - _REACH / 2, max(ends) + _REACH / 2, _COARSE)
        step = grid[1] - grid[0]
        near = grid[int(np.argmin(cost(grid)))] + np.linspace(-step, step, _FINE)
        slope = float(np.exp(near[int(np.argmin(cost(near)))]))
        return cls(float(shares @ means + slope * (shares @ capped)), slope, cap)

    def scores(self, losses: Array) -> Array:
        """Return the scores of losses, any shape; NaN stays."""
        return np.clip(self.offset - self.slope * np.minimum(losses, self.cap), -BOUND, BOUND)


def _cap(losses: Array) -> float:
    best, middle = float(losses.min()), float(np.median(losses))
    return middle + _FAR * (middle - best) if middle > best else float(losses.max())


def _slope(scale: TaskScale) -> float:
    """Return how steeply scores fall with the loss on a past task, capped alike; 0 where they don't."""
    losses = np.minimum(scale.losses, _cap(scale.losses))
    spread = float(losses.std())
    return float(scale.scores.std()) / spread if spread > 0 else 0.0
