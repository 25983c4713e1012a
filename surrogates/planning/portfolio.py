"""Choosing configs that do well together within a budget.

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
from dataclasses import dataclass

import numpy as np

from orchestrator.contracts import InputError
from surrogates.data.normalisation import WORST_GOODNESS, Array

_THRIFTS = (0.0, 0.5, 1.0)
"""Powers of the cost by which a gain is divided: each gives a portfolio, the first of the best is taken."""
_ANYTIME_SHARE = 0.25
"""What being good early counts against being good by the end."""
_NO_GAIN = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """One member of a portfolio."""

    candidate: int
    fidelity: int
    cost_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """What may happen: joint samples of goodness and of cost; see the notation above."""

    goodness: Array
    weights: Array
    cost_s: Array
    factors: Array


def smallest_budget_s(cost_s: Array) -> float:
    """Return the least predicted seconds that any candidate needs for its first fidelity."""
    return float(cost_s[:, 0].min())


def build_portfolio(samples: Samples, budget_s: float, *, most: int) -> list[Pick]:
    """Choose and order candidates for the best expected goodness by the end of a budget.

    Args:
        samples: What may happen.
        budget_s: Seconds; the sum of the predicted costs stays within it.
        most: Longest portfolio, from 1.

    Returns:
        At least one pick, each candidate at most once, in the order in which to run them.

    Raises:
        InputError: The budget is too small for any candidate.
    """
    least = smallest_budget_s(samples.cost_s)
    if not budget_s >= least:
        raise InputError(
            f"a budget of {budget_s:g} s is too small for one epoch of any config; the smallest that would "
            f"do is {rounded_up(least)} s"
        )
    portfolios = [_greedy(samples, budget_s, most, thrift) for thrift in _THRIFTS]
    return max(portfolios, key=lambda picks: _merit(samples, picks, budget_s))


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


def _greedy(samples: Samples, budget_s: float, most: int, thrift: float) -> list[Pick]:
    cost_s = samples.cost_s
    divisor = cost_s**thrift
    plain = np.tensordot(samples.weights, samples.goodness, axes=1)
    free = np.ones(len(cost_s), dtype=bool)
    best = np.full(len(samples.weights), WORST_GOODNESS)
    picks: list[Pick] = []
    spent = 0.0
    while len(picks) < most:
        affordable = free[:, None] & (spent + cost_s <= budget_s)
        if not affordable.any():
            break
        reached = _reached(samples, budget_s, spent)
        gains = (
            np.tensordot(samples.weights, np.maximum(reached - best[:, None, None], 0.0), axes=1) / divisor
        )
        if float(np.where(affordable, gains, -np.inf).max()) <= _NO_GAIN:
            # The samples are exhausted, the budget is not: go on with what is good on the whole.
            gains = plain
        candidate, fidelity = divmod(int(np.argmax(np.where(affordable, gains, -np.inf))), cost_s.shape[1])
        pick = Pick(candidate=candidate, fidelity=fidelity, cost_s=float(cost_s[candidate, fidelity]))
        picks.append(pick)
        best = np.maximum(best, reached[:, candidate, fidelity])
        free[candidate] = False
        spent += pick.cost_s
    return picks


def _reached(samples: Samples, budget_s: float, spent: float) -> Array:
    """Return the goodness that each candidate reaches in each sample before the budget is gone."""
    if (spent + samples.cost_s.max()) * samples.factors.max() <= budget_s:
        return samples.goodness
    left = budget_s - spent * samples.factors
    within = samples.cost_s[None] * samples.factors[:, None, None] <= left[:, None, None]
    # Costs rise and goodness does not fall with the fidelity: the last within the budget is the best.
    return np.asarray(np.maximum.accumulate(np.where(within, samples.goodness, WORST_GOODNESS), axis=2))


def _merit(samples: Samples, picks: Sequence[Pick], budget_s: float) -> float:
    """Return the expected best by the end, plus a share of its average over the time until there.

    Two digits of it, so that a thriftier order must be worth something: many run the first choice only.
    """
    best = np.full(len(samples.weights), WORST_GOODNESS)
    spent, area = 0.0, 0.0
    for pick in picks:
        reached = _reached(samples, budget_s, spent)[:, pick.candidate, pick.fidelity]
        area += float(samples.weights @ np.maximum(best, 0.0)) * pick.cost_s
        best = np.maximum(best, reached)
        spent += pick.cost_s
    area += float(samples.weights @ np.maximum(best, 0.0)) * (budget_s - spent)
    return round(float(samples.weights @ best) + _ANYTIME_SHARE * area / budget_s, 2)
