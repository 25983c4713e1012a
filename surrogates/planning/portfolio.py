"""Choosing configs that do well together within a budget.

| symbol | meaning | shape |
|---|---|---|
| goodness | of a candidate run to a fidelity in a joint sample; never falls with the fidelity | (S, P, F) |
| weights | of the samples, sum 1 | (S,) |
| cost_s | predicted seconds to reach a fidelity, rising | (P, F) |
| factors | how many times dearer than predicted everything is in a sample | (S,) |

A sample is one way in which the new task may deviate from what is predicted; the value of a portfolio in a
sample is its best member's, so a config that is good where the others are bad is worth more than one more of
the same. How portfolios grow is in ``drafts``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from orchestrator.contracts import InputError
from surrogates.data.normalisation import WORST_GOODNESS, Array
from surrogates.planning.drafts import NO_COST_S, NO_GAIN, Draft, Ground

_THRIFTS = (0.0, 0.5, 1.0)
"""Powers of the cost by which a gain is divided: each gives a portfolio, the first of the best is taken."""
_STARTS = 3
"""Candidates that are tried as the first, beside what thrift says."""
_THRIFT_AFTER_START = 0.5
_MOST_LOOKED_AT = 72
_MOST_OF_A_SAMPLE = 3
_STRETCH = (1.5, 4.0)
"""Budgets that plan and reserve fill, at least and at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """One member of a portfolio."""

    candidate: int
    fidelity: int
    cost_s: float
    """Of the new epochs alone."""
    is_reserve: bool = False
    """Whether it lies beyond the budget by what is predicted: for when all goes faster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """What may happen: joint samples of goodness and of cost; see the notation above."""

    goodness: Array
    weights: Array
    cost_s: Array
    factors: Array

    def averaged(self) -> "Samples":
        """Return one sample, in which all is as expected."""
        return Samples(
            goodness=_mean(self, self.goodness)[None],
            weights=np.ones(1),
            cost_s=self.cost_s,
            factors=np.ones(1),
        )


def smallest_budget_s(cost_s: Array) -> float:
    """Return the least predicted seconds that any candidate needs for its first fidelity."""
    return float(cost_s[:, 0].min())


def build_portfolio(samples: Samples, budget_s: float, *, most: int) -> list[Pick]:
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
    ground = Ground.of(samples.goodness[:, kept], samples.weights, samples.cost_s[kept], samples.factors)
    nothing = Draft.empty(ground, budget_s)
    best = nothing
    for start, thrift in (
        *((nothing, thrift) for thrift in _THRIFTS),
        *((nothing.with_pick(*pick), _THRIFT_AFTER_START) for pick in nothing.good_starts(_STARTS)),
    ):
        draft = start.grown(thrift, most, beating=best.merit())
        # A run in one go and the same run in two come to the same: not rounding decides, but who was first.
        best = draft if draft.merit() > best.merit() + NO_GAIN else best
    best = best.filled(most)
    # In reserve: go on as if there were as much time as in the fastest sample.
    planned = len(best.runs)
    best = best.with_budget(budget_s * _stretch(samples)).grown(_THRIFT_AFTER_START, most).filled(most)
    return _merged(
        [
            Pick(
                candidate=int(kept[run.candidate]),
                fidelity=run.fidelity,
                cost_s=run.cost_s,
                is_reserve=place >= planned,
            )
            for place, run in enumerate(best.runs)
        ]
    )


def expected_goodness(samples: Samples, picks: Sequence[Pick]) -> Array:
    """Return the expected best goodness after every pick, each run as far as it says; never falls.

    Args:
        samples: What may happen.
        picks: In order.

    Returns:
        Shape ``(len(picks),)``.
    """
    if not picks:
        return np.zeros(0)
    values = np.stack([samples.goodness[:, pick.candidate, pick.fidelity] for pick in picks], axis=1)
    best = np.maximum.accumulate(values, axis=1)
    # Summation may round differently from one pick to the next; what it sums never falls.
    return np.asarray(np.maximum.accumulate(samples.weights @ best))


def rounded_up(seconds: float) -> str:
    """Return seconds with three digits, never less than they are."""
    if seconds <= 0:
        return "0"
    unit = 10.0 ** (np.floor(np.log10(seconds)) - 2)
    return f"{np.ceil(seconds / unit) * unit:.12g}"


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
    everything = np.arange(count)
    if count <= _MOST_LOOKED_AT:
        return everything
    goodness, cost_s = samples.goodness.transpose(2, 0, 1), samples.cost_s.T
    affordable = cost_s <= budget_s
    plain = np.matmul(samples.weights, goodness)
    rate = np.where(affordable, (plain - WORST_GOODNESS) / np.maximum(cost_s, NO_COST_S), -np.inf)
    # Costs rise and goodness does not fall with the fidelity: the last that is affordable is the best.
    last = affordable.sum(axis=0) - 1
    best, somewhere = plain[last, everything], goodness[last, :, everything].T
    if not affordable[0].all():
        best, somewhere = (np.where(affordable[0], values, -np.inf) for values in (best, somewhere))
    kept = [
        np.argsort(-best, kind="stable")[: _MOST_LOOKED_AT // 3],
        np.argsort(-rate.max(axis=0), kind="stable")[: _MOST_LOOKED_AT // 6],
        *_largest(somewhere, _MOST_OF_A_SAMPLE),
    ]
    return np.array(list(dict.fromkeys(np.concatenate(kept).tolist()))[:_MOST_LOOKED_AT])


def _largest(values: Array, most: int) -> list[NDArray[np.int64]]:
    """Return the places of each row's largest value, second largest, and so on; of equals the first."""
    if np.isinf(values).any():
        return list(np.argsort(-values, axis=1, kind="stable")[:, :most].T)
    left, found = values.copy(), []  # a few looks are faster than to sort
    for _ in range(most):
        found.append(np.argmax(left, axis=1))
        left[np.arange(len(left)), found[-1]] = -np.inf
    return found


def _merged(picks: Sequence[Pick]) -> list[Pick]:
    """Join picks of one candidate that follow each other."""
    merged: list[Pick] = []
    for pick in picks:
        last = merged[-1] if merged else None
        if last and last.candidate == pick.candidate and last.is_reserve == pick.is_reserve:
            pick = replace(pick, cost_s=merged.pop().cost_s + pick.cost_s)
        merged.append(pick)
    return merged
