"""How sure a comparison is: bootstrap intervals over tasks, and tests paired by task.

Tasks are what is drawn at random, so they are what is resampled and paired; the seeds of a method are
averaged within each task first. n is the number of tasks throughout.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from surrogates.data.normalisation import Array

RESAMPLES = 10_000
_SEED = 20_241_101
_TIE = 1e-9
"""Differences up to this are ties."""
_MOST_ENUMERATED = 13
"""Of so many differences, every choice of signs is gone through: 8,192 of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean over tasks, and where it would lie for other tasks like them."""

    mean: float
    low: float
    high: float
    """Ends of the 95 % percentile bootstrap interval."""
    n: int
    """Tasks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """Ours against another, task by task."""

    difference: float
    """Mean of ours minus theirs; below 0 ours has less regret."""
    wins: int
    ties: int
    losses: int
    p: float
    """Of the two-sided Wilcoxon signed-rank test; ties left out."""
    p_holm: float
    """The same, corrected for the number of others compared with."""

    @property
    def n(self) -> int:
        """Tasks."""
        return self.wins + self.ties + self.losses


def bootstrap_mean(values: Array) -> Interval:
    """Return a mean over tasks with its interval.

    Args:
        values: One a task, finite, shape ``(n,)`` with n at least 1.

    Returns:
        The interval; the same values in the same order give the same one.
    """
    rng = np.random.default_rng(_SEED)
    means = values[rng.integers(len(values), size=(RESAMPLES, len(values)))].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return Interval(mean=float(values.mean()), low=float(low), high=float(high), n=len(values))


def signed_rank_p(differences: Array) -> float:
    """Return the two-sided p of Wilcoxon's signed-rank test, exact for few tasks.

    Args:
        differences: One a task, shape ``(n,)``.

    Returns:
        In (0, 1]; 1 where all differences but one are ties.
    """
    from scipy import stats

    kept = differences[np.abs(differences) > _TIE]
    if len(kept) < 2:
        return 1.0
    method = (
        stats.PermutationMethod(n_resamples=2**_MOST_ENUMERATED) if len(kept) <= _MOST_ENUMERATED else "auto"
    )
    return float(stats.wilcoxon(kept, method=method).pvalue)


def smallest_p(n: int) -> float:
    """Return the p of winning on all of n tasks: no test of so many can give less."""
    return min(1.0, 2.0 / 2.0**n)


def holm(ps: Sequence[float]) -> list[float]:
    """Correct p-values of several tests so that any false alarm among them stays as rare as one promises.

    Args:
        ps: Of one family of tests.

    Returns:
        Corrected ones in the same order, each at least its own and at most 1; their order is kept.
    """
    corrected = [0.0] * len(ps)
    highest = 0.0
    for place, at in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        highest = max(highest, min(1.0, (len(ps) - place) * ps[at]))
        corrected[at] = highest
    return corrected


def compare(ours: Array, theirs: Sequence[Array]) -> list[Paired]:
    """Compare one method with others, task by task.

    Args:
        ours: Regret, one a task, shape ``(n,)``.
        theirs: The same of each other method, the tasks in the same order.

    Returns:
        One comparison an other method; their p-values are corrected as one family.
    """
    differences = [ours - other for other in theirs]
    ps = [signed_rank_p(difference) for difference in differences]
    return [
        Paired(
            difference=math.fsum(difference) / len(difference),
            wins=int((difference < -_TIE).sum()),
            ties=int((np.abs(difference) <= _TIE).sum()),
            losses=int((difference > _TIE).sum()),
            p=p,
            p_holm=corrected,
        )
        for difference, p, corrected in zip(differences, ps, holm(ps), strict=True)
    ]
