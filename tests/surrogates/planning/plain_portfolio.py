"""The portfolio as it is meant, one draft after another and every gain anew: what the fast one must equal.

| symbol | meaning | shape |
|---|---|---|
| goodness | of a candidate run to a fidelity in a joint sample; never falls with the fidelity | (S, P, F) |
| weights | of the samples, sum 1 | (S,) |
| cost_s | predicted seconds to reach a fidelity, rising | (P, F) |
| factors | how many times dearer than predicted everything is in a sample | (S,) |

A sample is one way in which the new task may deviate from what is predicted; the value of a portfolio in a
sample is its best member's, so a config that is good where the others are bad is worth more than one more of
the same.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from orchestrator.contracts import InputError
from surrogates.data.normalisation import WORST_GOODNESS, Array
from surrogates.planning.portfolio import Pick, Samples, rounded_up, smallest_budget_s

_THRIFTS = (0.0, 0.5, 1.0)
"""Powers of the cost by which a gain is divided: each gives a portfolio, the first of the best is taken."""
_ANYTIME_SHARE = 0.1
"""What being good early counts against being good by the end."""
_STARTS = 3
"""Candidates that are tried as the first, beside what thrift says."""
_THRIFT_AFTER_START = 0.5
_MOST_LOOKED_AT = 72
_STRETCH = (1.5, 4.0)
"""Budgets that plan and reserve fill, at least and at most."""
_NO_GAIN = 1e-9
_NO_COST_S = 1e-9


def plain_portfolio(samples: Samples, budget_s: float, *, most: int) -> list[Pick]:
    """Choose and order candidates for the best expected goodness by the end of a budget.

    A pick of a candidate that was picked before continues it. Behind what fills the budget comes a reserve,
    as much as would fill it if all went as fast as in the fastest sample.

    Args:
        samples: What may happen.
        budget_s: Seconds; the sum of the predicted costs stays within it, but for the reserve.
        most: Longest portfolio, from 1.

    Returns:
        At least one pick, in the order in which to run them.

    Raises:
        InputError: The budget is too small for any candidate, even if all went much faster than predicted.
    """
    least = smallest_budget_s(samples.cost_s)
    if not budget_s * _stretch(samples) >= least:
        raise InputError(
            f"a budget of {budget_s:g} s is too small for one epoch of any config; the smallest that would "
            f"do is {rounded_up(least)} s"
        )
    kept = _promising(samples, budget_s)
    few = Samples(
        goodness=samples.goodness[:, kept],
        weights=samples.weights,
        cost_s=samples.cost_s[kept],
        factors=samples.factors,
    )
    drafts = [_Draft(few, budget_s, most) for _ in range(len(_THRIFTS) + _STARTS)]
    for draft, thrift in zip(drafts, _THRIFTS, strict=False):
        draft.grow(thrift)
    for draft, start in zip(drafts[len(_THRIFTS) :], _good_starts(few, budget_s), strict=False):
        draft.add(*start)
        draft.grow(_THRIFT_AFTER_START)
    best = drafts[0]
    for draft in drafts[1:]:
        best = draft if draft.merit() > best.merit() + _NO_GAIN else best
    best.fill()
    best.reserve()
    return _merged([replace(pick, candidate=int(kept[pick.candidate])) for pick in best.picks])


class _Draft:
    """A portfolio under construction."""

    def __init__(self, samples: Samples, budget_s: float, most: int) -> None:
        self._samples, self._budget_s, self._most = samples, budget_s, most
        self._levels = np.arange(samples.cost_s.shape[1])
        self._level = np.full(len(samples.cost_s), -1)
        self._paid_s = np.zeros(len(samples.cost_s))
        self._best = np.full(len(samples.weights), WORST_GOODNESS)
        self._spent_s = self._area = 0.0
        self._is_reserve = False
        self.picks: list[Pick] = []

    def add(self, candidate: int, fidelity: int) -> None:
        """Run a candidate up to a fidelity, from where it is."""
        samples, paid_s = self._samples, self._paid_s[candidate]
        new = slice(int(self._level[candidate]) + 1, fidelity + 1)
        costs = samples.cost_s[candidate, new]
        within = (self._spent_s - paid_s + costs) * samples.factors[:, None] <= self._budget_s
        values = np.where(within, samples.goodness[:, candidate, new], WORST_GOODNESS)
        best = np.maximum.accumulate(np.concatenate([self._best[:, None], values], axis=1), axis=1)
        before = _middling(samples.weights @ best[:, :-1])
        self._area += float(before @ np.diff(costs, prepend=paid_s))
        self._best = best[:, -1]
        cost_s = float(costs[-1] - paid_s)
        self.picks.append(
            Pick(candidate=candidate, fidelity=fidelity, cost_s=cost_s, is_reserve=self._is_reserve)
        )
        self._spent_s += cost_s
        self._level[candidate], self._paid_s[candidate] = fidelity, costs[-1]

    def grow(self, thrift: float) -> None:
        """Add what gains most, divided by a power of its cost, until nothing gains or fits."""
        while len(self.picks) < self._most:
            more_s, affordable = self._more()
            reached = _reached(self._samples, more_s, self._budget_s, self._spent_s)
            gains = _mean(self._samples, np.maximum(reached - self._best[:, None, None], 0.0))
            gains = np.where(affordable, gains, 0.0)
            if float(gains.max()) <= _NO_GAIN:
                return
            self.add(*_place_of_largest(gains / np.maximum(more_s, _NO_COST_S) ** thrift))

    def fill(self) -> None:
        """Spend what is left of the budget on what is good on the whole: the samples are exhausted."""
        plain = _mean(self._samples, self._samples.goodness)
        while len(self.picks) < self._most:
            _, affordable = self._more()
            if not affordable.any():
                return
            self.add(*_place_of_largest(np.where(affordable, plain, -np.inf)))

    def reserve(self) -> None:
        """Go on as if there were as much time as in the fastest sample."""
        self._budget_s *= _stretch(self._samples)
        self._is_reserve = True
        self.grow(_THRIFT_AFTER_START)
        self.fill()

    def merit(self) -> float:
        """Return the expected best by the end, plus a share of its average over the time until there."""
        if not self.picks:
            return -np.inf
        end = float(self._samples.weights @ self._best)
        area = self._area + max(end, 0.0) * (self._budget_s - self._spent_s)
        return end + _ANYTIME_SHARE * area / self._budget_s

    def _more(self) -> tuple[Array, NDArray[np.bool_]]:
        """Return the further cost of every candidate and fidelity, and whether it is new and affordable."""
        more_s = self._samples.cost_s - self._paid_s[:, None]
        new = self._levels > self._level[:, None]
        return more_s, new & (self._spent_s + more_s <= self._budget_s)


def _middling(expected: Array) -> Array:
    """Return expected goodness where what is worse than the median config counts as that."""
    return np.maximum(expected, 0.0)


def _mean(samples: Samples, values: Array) -> Array:
    """Return the mean over the samples; shape ``(P, F)`` from ``(S, P, F)``."""
    return np.asarray((samples.weights @ values.reshape(len(values), -1)).reshape(values.shape[1:]))


def _stretch(samples: Samples) -> float:
    """Return how many budgets would do if all went as fast as in the fastest sample."""
    return float(np.clip(1.0 / samples.factors.min(), *_STRETCH))


def _promising(samples: Samples, budget_s: float) -> NDArray[np.int64]:
    """Return the candidates worth a closer look, or all where they are few.

    Those are good on the whole, good for their cost, or the best in some sample.
    """
    count = len(samples.cost_s)
    if count <= _MOST_LOOKED_AT:
        return np.arange(count)
    affordable = samples.cost_s <= budget_s
    plain = np.where(affordable, _mean(samples, samples.goodness), -np.inf)
    rate = (plain - WORST_GOODNESS) / np.maximum(samples.cost_s, _NO_COST_S)
    somewhere = np.where(affordable, samples.goodness, -np.inf).max(axis=2)
    kept = [
        np.argsort(-plain.max(axis=1), kind="stable")[: _MOST_LOOKED_AT // 3],
        np.argsort(-rate.max(axis=1), kind="stable")[: _MOST_LOOKED_AT // 6],
        np.argsort(-somewhere, axis=1, kind="stable")[:, :3].T.ravel(),
    ]
    return np.array(list(dict.fromkeys(np.concatenate(kept).tolist()))[:_MOST_LOOKED_AT])


def _good_starts(samples: Samples, budget_s: float) -> list[tuple[int, int]]:
    """Return the candidates with the best expectation alone, each as far as the budget lets it."""
    reached = _reached(samples, samples.cost_s, budget_s, 0.0)
    plain = np.where(samples.cost_s <= budget_s, _mean(samples, reached), -np.inf)
    far = np.argmax(plain, axis=1)
    alone = plain[np.arange(len(plain)), far]
    order = np.argsort(-alone, kind="stable")[:_STARTS]
    return [(int(place), int(far[place])) for place in order if alone[place] > -np.inf]


def _merged(picks: Sequence[Pick]) -> list[Pick]:
    """Join picks of one candidate that follow each other."""
    merged: list[Pick] = []
    for pick in picks:
        last = merged[-1] if merged else None
        if last and last.candidate == pick.candidate and last.is_reserve == pick.is_reserve:
            pick = replace(pick, cost_s=merged.pop().cost_s + pick.cost_s)
        merged.append(pick)
    return merged


def _reached(samples: Samples, more_s: Array, budget_s: float, spent_s: float) -> Array:
    """Return the goodness that each candidate reaches in each sample before the budget is gone."""
    if (spent_s + more_s.max()) * samples.factors.max() <= budget_s:
        return samples.goodness
    left_s = budget_s / samples.factors - spent_s
    within = more_s[None] <= left_s[:, None, None]
    # Costs rise and goodness does not fall with the fidelity: the last within the budget is the best.
    return np.asarray(np.maximum.accumulate(np.where(within, samples.goodness, WORST_GOODNESS), axis=2))


def _place_of_largest(values: Array) -> tuple[int, int]:
    candidate, fidelity = divmod(int(np.argmax(values)), values.shape[1])
    return candidate, fidelity
