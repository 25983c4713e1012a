"""Scores that compare across tasks.

| symbol | meaning | shape, direction |
|---|---|---|
| value | the metric as it was measured | either direction |
| loss | the metric, minimised; ``inf`` where the trial failed | (n,) |
| score | normal quantile of a loss's rank within its task; heavy tails become light | (n,), maximised |
| goodness | 1 at the task's best loss, 0 at its median, beyond it minus the log of the gap | maximised |
"""

import enum
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

WORST_GOODNESS = -4.0
"""Goodness is cut here: a gap to the best that is 55 times the median's."""
_KNOTS = 65


class Direction(enum.StrEnum):
    """Which way a metric improves."""

    MINIMISE = "minimise"
    MAXIMISE = "maximise"


def to_loss(values: Array, direction: Direction) -> Array:
    """Turn a metric so that lower is better; its own inverse."""
    return values if direction is Direction.MINIMISE else -values


def quantile_scores(losses: Array) -> Array:
    """Rank losses within one task and return the ranks' normal quantiles.

    Args:
        losses: Shape ``(n,)``; ``inf`` for a failure, NaN where nothing was measured.

    Returns:
        Shape ``(n,)``, higher is better; equal losses get equal scores, failures the lowest, NaN stays.
    """
    scores = np.full(losses.shape, np.nan)
    measured = ~np.isnan(losses)
    _, place, counts = np.unique(losses[measured], return_inverse=True, return_counts=True)
    total = counts.sum()
    better = np.cumsum(counts) - counts
    shares = 1.0 - (better + 0.5 * counts) / max(total, 1)
    normal = NormalDist()
    quantiles = np.array([normal.inv_cdf(share) for share in shares])
    scores[measured] = quantiles[place]
    return scores


def goodness(losses: Array, best: float, gap: float) -> Array:
    """Return how good losses are on the scale of one task.

    Args:
        losses: Losses, any shape; ``inf`` for a failure.
        best: The task's lowest loss.
        gap: Its median loss minus its lowest, positive.

    Returns:
        1 at ``best``, 0 at ``best + gap``; beyond, minus the logarithm of the gap's multiple, cut at
        ``WORST_GOODNESS``. Never rises with the loss.
    """
    multiple = np.maximum((losses - best) / gap, 0.0)
    tail = -np.log(np.maximum(multiple, 1.0))
    return np.maximum(np.where(multiple < 1.0, 1.0 - multiple, tail), WORST_GOODNESS)


def median_gap(losses: Array, best: float) -> float:
    """Return the median loss minus the best, or the next wider gap where the median is the best.

    Args:
        losses: The task's losses at full fidelity, shape ``(n,)``; failures are ``inf``.
        best: Their lowest.

    Returns:
        A positive number; 1 where all losses are equal.
    """
    finite = losses[np.isfinite(losses)]
    if finite.size == 0:
        return 1.0
    gaps = np.quantile(finite, (0.5, 0.75, 0.9, 1.0)) - best
    positive = gaps[gaps > 0]
    return float(positive[0]) if positive.size else 1.0


@dataclass(frozen=True, slots=True)
class TaskScale:
    """Reads scores back as what they meant on one past task."""

    scores: Array
    """Knots, rising, shape ``(k,)``."""
    losses: Array
    """The main metric's loss at the knots, falling."""
    reports: dict[str, Array]
    """Every reported metric's mean value around the knots."""
    goodness: Array
    """Goodness at the knots, rising."""

    @classmethod
    def fitted(
        cls, scores: Array, losses: Array, reports: dict[str, Array], *, best: float, gap: float
    ) -> "TaskScale":
        """Build the scale from a task's measured points.

        Args:
            scores: Their normalised scores, shape ``(n,)`` with n at least 1.
            losses: Their losses, finite, shape ``(n,)``.
            reports: Name to values of further metrics, shape ``(n,)`` each.
            best: The task's lowest loss.
            gap: What ``median_gap`` says.

        Returns:
            The scale, with at most 65 knots.
        """
        order = np.argsort(scores, kind="stable")
        groups = [group for group in np.array_split(order, min(_KNOTS, len(order))) if group.size]
        knots = np.array([scores[group].mean() for group in groups])
        at_knots = np.array([losses[group].mean() for group in groups])
        at_knots[-1], at_knots[0] = losses[order[-1]], losses[order[0]]
        knots[-1], knots[0] = scores[order[-1]], scores[order[0]]
        means = {name: np.array([values[g].mean() for g in groups]) for name, values in reports.items()}
        return cls(knots, at_knots, means, goodness(at_knots, best, gap))

    def loss_at(self, scores: Array) -> Array:
        """Return the losses that had these scores on the task; the extremes beyond what was seen."""
        return np.asarray(np.interp(scores, self.scores, self.losses))

    def report_at(self, name: str, scores: Array) -> Array:
        """Return the mean of a further metric where the task had these scores."""
        return np.asarray(np.interp(scores, self.scores, self.reports[name]))

    def goodness_at(self, scores: Array) -> Array:
        """Return the goodness that these scores had on the task."""
        return np.asarray(np.interp(scores, self.scores, self.goodness))
