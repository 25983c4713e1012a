"""Portfolios under construction: what one more run would gain, and what has been gained so far.

The notation is that of ``portfolio``; goodness is held times the samples' weights, so that means are sums.
Drafts are never changed. Those that begin with the same picks are one until they part, so that what they
would gain next is worked out once for all of them; it is most of the work of a plan.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from surrogates.data.normalisation import WORST_GOODNESS, Array

_ANYTIME_SHARE = 0.1
"""What being good early counts against being good by the end."""
NO_GAIN = 1e-9
NO_COST_S = 1e-9


class Run(NamedTuple):
    """A pick, and the cost of its new epochs."""

    candidate: int
    fidelity: int
    cost_s: float


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What all drafts of a portfolio have in common; samples in falling order of their factor."""

    weighted: Array
    """Goodness times weight, shape ``(S, P, F)``."""
    worst: Array
    """The worst there is, times weight, shape ``(S,)``."""
    cost_s: Array
    factors: Array
    dear: int
    """So many samples are dearer than predicted."""
    dearest_s: float
    """Highest cost of any."""

    @classmethod
    def of(cls, goodness: Array, weights: Array, cost_s: Array, factors: Array) -> "Ground":
        """Prepare samples; shapes as in ``portfolio``."""
        order = np.argsort(-factors)
        weights, factors = weights[order], factors[order]
        return cls(
            weighted=np.ascontiguousarray(goodness[order] * weights[:, None, None]),
            worst=WORST_GOODNESS * weights,
            cost_s=cost_s,
            factors=factors,
            dear=int(np.count_nonzero(factors > 1.0)),
            dearest_s=float(cost_s.max()),
        )

    @cached_property
    def ideal(self) -> float:
        """What would be expected if every sample's best were picked."""
        return float(self.weighted.max(axis=(1, 2)).sum())

    @cached_property
    def plain(self) -> Array:
        """Expected goodness, shape ``(P, F)``."""
        return np.asarray(np.add.reduce(self.weighted, axis=0))

    def reached(self, more_s: Array, budget_s: float, spent_s: float) -> Array:
        """Return the goodness that each candidate reaches in each sample before the budget is gone.

        Args:
            more_s: What each still costs, shape ``(P, F)``.
            budget_s: Seconds.
            spent_s: Seconds that are gone.

        Returns:
            Shape ``(S, P, F)``; of what is within the budget by its predicted cost, anything for the others.
        """
        if not self.dear or (spent_s + self.dearest_s) * float(self.factors[0]) <= budget_s:
            return self.weighted
        left_s = budget_s / self.factors[: self.dear] - spent_s
        within = more_s[None] <= left_s[:, None, None]
        reached = self.weighted.copy()
        dear = np.where(within, reached[: self.dear], self.worst[: self.dear, None, None])
        # Costs rise and goodness does not fall with the fidelity: the last within the budget is the best.
        reached[: self.dear] = np.maximum.accumulate(dear, axis=2)
        return reached


class Draft:
    """A portfolio so far.

    Args:
        ground: What it is made of.
        budget_s: Seconds.
        runs: What is to be run, in order.
        levels: The fidelity that a candidate is run to, of those that are.
        best: Best goodness so far, times weight, shape ``(S,)``.
        spent_s: Seconds of the runs.
        area: Expected best goodness over those seconds.
    """

    __slots__ = (
        *("_area", "_best", "_expected", "_ground", "_levels", "_next", "_spent_s"),
        *("_budget_s", "_found", "runs"),
    )

    def __init__(
        self,
        ground: Ground,
        budget_s: float,
        runs: tuple[Run, ...],
        levels: dict[int, int],
        best: Array,
        spent_s: float,
        area: float,
    ) -> None:
        self._ground, self._budget_s, self.runs, self._levels = ground, budget_s, runs, levels
        self._best, self._spent_s, self._area = best, spent_s, area
        self._expected = float(np.add.reduce(best))
        self._next: dict[tuple[int, int], Draft] = {}
        self._found: _Gains | None = None

    @classmethod
    def empty(cls, ground: Ground, budget_s: float) -> "Draft":
        """Return a draft without picks."""
        return cls(ground, budget_s, (), {}, ground.worst, 0.0, 0.0)

    def merit(self) -> float:
        """Return the expected best by the end, plus a share of its average over the time until there."""
        if not self.runs:
            return -np.inf
        area = self._area + max(self._expected, 0.0) * (self._budget_s - self._spent_s)
        return self._expected + _ANYTIME_SHARE * area / self._budget_s

    def hope(self) -> float:
        """Return a merit that no draft that goes on from here exceeds: the best of every sample at once."""
        ideal = max(self._ground.ideal, 0.0)
        area = self._area + ideal * (self._budget_s - self._spent_s)
        return self._ground.ideal + _ANYTIME_SHARE * area / self._budget_s

    def good_starts(self, most: int) -> Sequence[tuple[int, int]]:
        """Return the candidates with the best expectation alone, each as far as the budget lets it."""
        affordable = self._affordable(self._more_s())
        far = np.where(affordable, self._gains().gains, -np.inf).argmax(axis=1)
        everything = np.arange(len(far))
        alone = np.where(affordable[everything, far], self._gains().gains[everything, far], -np.inf)
        order = np.argsort(-alone, kind="stable")[:most]
        return [(int(place), int(far[place])) for place in order if alone[place] > -np.inf]

    def with_budget(self, budget_s: float) -> "Draft":
        """Return the same picks with more to spend."""
        return Draft(self._ground, budget_s, self.runs, self._levels, self._best, self._spent_s, self._area)

    def with_pick(self, candidate: int, fidelity: int) -> "Draft":
        """Return the draft with a candidate run up to an affordable fidelity, from where it is."""
        key = (candidate, fidelity)
        found = self._next.get(key)
        if found is None:
            found = self._next[key] = self._with(candidate, fidelity)
        return found

    def grown(self, thrift: float, most: int, *, beating: float = -np.inf) -> "Draft":
        """Add what gains most, divided by a power of its cost.

        Args:
            thrift: That power.
            most: Longest portfolio.
            beating: A merit to exceed.

        Returns:
            The draft when nothing gains or fits any more, or when it can't exceed that merit.
        """
        draft = self
        while len(draft.runs) < most and draft.hope() >= beating - NO_GAIN:
            found = draft._gains()
            if found.largest <= NO_GAIN:
                break
            rates = found.gains
            if thrift:
                rates = rates / np.maximum(found.more_s, NO_COST_S) ** thrift
            draft = draft.with_pick(*_place_of_largest(rates))
        return draft

    def filled(self, most: int) -> "Draft":
        """Spend what is left of the budget on what is good on the whole: the samples are exhausted."""
        draft = self
        while len(draft.runs) < most:
            affordable = draft._affordable(draft._more_s())
            if not affordable.any():
                break
            draft = draft.with_pick(*_place_of_largest(np.where(affordable, self._ground.plain, -np.inf)))
        return draft

    def _more_s(self) -> Array:
        """Return what every candidate still costs up to every fidelity, shape ``(P, F)``."""
        more_s = self._ground.cost_s
        if self._levels:
            more_s = more_s.copy()
            for candidate, level in self._levels.items():
                more_s[candidate] -= more_s[candidate, level]
        return more_s

    def _affordable(self, more_s: Array) -> NDArray[np.bool_]:
        """Return whether a run is new and within the budget by its predicted cost, shape ``(P, F)``."""
        affordable = self._spent_s + more_s <= self._budget_s
        for candidate, level in self._levels.items():
            affordable[candidate, : level + 1] = False
        return affordable

    def _gains(self) -> "_Gains":
        if self._found is None:
            ground, more_s = self._ground, self._more_s()
            reached = ground.reached(more_s, self._budget_s, self._spent_s)
            above = reached - self._best[:, None, None]
            np.maximum(above, 0.0, out=above)
            gains = np.add.reduce(above, axis=0)
            if self._spent_s + ground.dearest_s > self._budget_s:
                gains *= self._affordable(more_s)
            for candidate, level in self._levels.items():
                gains[candidate, : level + 1] = 0.0  # with more to spend than before, it might gain again
            self._found = _Gains(more_s, reached, gains, float(np.maximum.reduce(gains, axis=None)))
        return self._found

    def _with(self, candidate: int, fidelity: int) -> "Draft":
        found, level = self._gains(), self._levels.get(candidate, -1)
        costs = found.more_s[candidate, level + 1 : fidelity + 1].tolist()
        gained = found.gains[candidate, level + 1 : fidelity].tolist()
        area, paid_s, expected = self._area, 0.0, self._expected
        # What is worse than the median config counts as that.
        for cost_s, gain in zip(costs, [0.0, *gained], strict=True):
            area += max(expected + gain, 0.0) * (cost_s - paid_s)
            paid_s = cost_s
        return Draft(
            self._ground,
            self._budget_s,
            (*self.runs, Run(candidate, fidelity, paid_s)),
            {**self._levels, candidate: fidelity},
            np.maximum(self._best, found.reached[:, candidate, fidelity]),
            self._spent_s + paid_s,
            area,
        )


class _Gains(NamedTuple):
    """What one more run would bring a draft; arrays of shape ``(P, F)`` but for the second."""

    more_s: Array
    """What it costs."""
    reached: Array
    """What ``Ground.reached`` says."""
    gains: Array
    """What it adds to the expected best, 0 where it is not affordable."""
    largest: float
    """Of the gains."""


def _place_of_largest(values: Array) -> tuple[int, int]:
    candidate, fidelity = divmod(int(values.argmax()), values.shape[1])
    return candidate, fidelity
