"""How unlike everything seen a task is, told from its meta-features.

Every meta-feature is looked at by itself, and every pair of them by their sum and their difference, since a
task may lie within what was usual for each number and break what held between two of them: answers shuffled
among questions contradict one another as often as wrong ones do, but there are no more of them than before.

| symbol | meaning | shape |
|---|---|---|
| place | a meta-feature, a sum or a difference, in units of what was usual | T tasks, D |
| excess | log1p of how far a place lies beyond all other tasks', over their width; 0 within | T, D |
| peak | a task's largest excess: one thing about it is unheard of | T |
| breadth | the mean of its M largest, M the number of meta-features: many things are unusual | T |

Peak and breadth are each divided by what is usual, a tenth more than the largest that any past task has when
it is held against the others; the larger of the two is the score. Of new tasks of the same kind about one in
as many as were seen scores above 1.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from surrogates.data.normalisation import Array

_LEEWAY = 0.1
"""What is never unusual: a tenth of a share, of a typical level, of a width, or of the largest excess."""
_MOST_PAIRED = 64
"""With more meta-features than this, each is looked at by itself: pairs are as many as their square."""
_MOST_REASONS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What is said of a task."""

    score: float
    """At least 0; up to 1 is usual."""
    reasons: tuple[str, ...]
    """Meta-features, or two of them joined by ``with``, that are beyond all past tasks, farthest first."""


class Strangeness:
    """Past tasks by all that was measured of them.

    Args:
        tasks: Their meta-features; NaN or absent where not measured.
        ignored: Names that say nothing of the task, such as the speed of a machine.
    """

    def __init__(self, tasks: Sequence[Mapping[str, float]], *, ignored: Collection[str] = ()) -> None:
        found = sorted({name for features in tasks for name in features}.difference(ignored))
        raw = _levelled(tasks, found)
        measured = np.flatnonzero(~np.isnan(raw).all(axis=0))
        self._names = [found[place] for place in measured]
        past = raw[:, measured]
        self._described = int((~np.isnan(past)).any(axis=1).sum())
        if self._described < 2:
            return
        middle = np.nanmedian(past, axis=0)
        width = np.nanmax(past, axis=0) - np.nanmin(past, axis=0)
        self._middle, self._unit = middle, width + _LEEWAY * (1.0 + np.abs(middle))
        paired = len(self._names) if len(self._names) <= _MOST_PAIRED else 0
        self._pairs = np.triu_indices(paired, 1)
        places = self._places(past)
        lowest = np.sort(np.where(np.isnan(places), np.inf, places), axis=0)[:2]
        highest = np.sort(np.where(np.isnan(places), -np.inf, places), axis=0)[:-3:-1]
        self._low, self._high = lowest[0], highest[0]
        # Held against the others, a task that is itself the lowest or highest meets the next one.
        others_low = np.where(places == lowest[0], lowest[1], lowest[0])
        others_high = np.where(places == highest[0], highest[1], highest[0])
        self._past_excess = _excess(places, others_low, others_high)
        self._usual = _usual(self._past_excess, len(self._names))

    def score(self, features: Mapping[str, float]) -> float | None:
        """Say how unlike the past tasks one is.

        Args:
            features: Its meta-features; missing ones are left out of the comparison on both sides.

        Returns:
            At least 0, up to 1 is usual; None where fewer than 2 past tasks are described, or nothing of
            this one is known that is known of them.
        """
        excess = self._excess_of(features)
        return None if excess is None else self._score(excess)

    def judge(self, features: Mapping[str, float]) -> Judgement | None:
        """Say how unlike the past tasks one is, and why; argument and None as for ``score``."""
        excess = self._excess_of(features)
        if excess is None:
            return None
        return Judgement(score=self._score(excess), reasons=self._reasons(np.nan_to_num(excess)))

    def _excess_of(self, features: Mapping[str, float]) -> Array | None:
        """Return how far each place lies beyond all past tasks', NaN where it is not known."""
        if self._described < 2:
            return None
        here = _levelled([features], self._names)
        if np.isnan(here).all():
            return None
        places = self._places(here)[0]
        return np.where(np.isnan(places), np.nan, _excess(places, self._low, self._high))

    def _score(self, excess: Array) -> float:
        unknown, count, usual = np.isnan(excess), len(self._names), self._usual
        if unknown.any():
            count -= int(np.count_nonzero(unknown[:count]))
            usual, excess = _usual(self._past_excess[:, ~unknown], count), excess[~unknown]
        return float((_peak_and_breadth(excess[None], count)[0] / usual).max())

    def _places(self, features: Array) -> Array:
        """Return what is looked at, shape ``(n, D)``, from levelled meta-features, shape ``(n, M)``."""
        units = (features - self._middle) / self._unit
        first, second = units[:, self._pairs[0]], units[:, self._pairs[1]]
        return np.concatenate([units, first + second, first - second], axis=1)

    def _reasons(self, excess: Array) -> tuple[str, ...]:
        alone = excess[: len(self._names)]
        first, second = (np.tile(alone[members], 2) for members in self._pairs)
        paired = excess[len(self._names) :]
        # A pair is worth a word only where it says more than its members.
        telling = np.concatenate([alone, np.where(paired > 2.0 * np.maximum(first, second), paired, 0.0)])
        order = np.argsort(-telling, kind="stable")[: 2 * _MOST_REASONS]
        told = [self._label(int(place)) for place in order if telling[place] > 0]
        return tuple(dict.fromkeys(told))[:_MOST_REASONS]

    def _label(self, place: int) -> str:
        if place < len(self._names):
            return self._names[place]
        first, second = (int(m[(place - len(self._names)) % len(m)]) for m in self._pairs)
        return f"{self._names[first]} with {self._names[second]}"


def _levelled(tasks: Sequence[Mapping[str, float]], names: Sequence[str]) -> Array:
    """Return meta-features, shape ``(tasks, names)``: as they are up to 1, growing as logarithms beyond."""
    raw = np.array([[features.get(name, np.nan) for name in names] for features in tasks], dtype=float)
    raw = np.where(np.isfinite(raw), raw, np.nan).reshape(len(tasks), len(names))
    size = np.abs(raw)
    return np.asarray(np.where(size <= 1, raw, np.sign(raw) * (1 + np.log(np.maximum(size, 1)))))


def _excess(places: Array, low: Array, high: Array) -> Array:
    """Return how far places lie beyond others; 0 within them, and where nothing is known to compare with."""
    beyond = np.maximum(places - high, low - places)
    known = np.isfinite(beyond)
    width = np.where(known, high - low, 0.0)
    share = np.where(known, np.maximum(beyond, 0.0), 0.0) / (width + _LEEWAY)
    return np.asarray(np.log1p(share))


def _peak_and_breadth(excess: Array, count: int) -> Array:
    """Return the largest and the mean of the ``count`` largest, shape ``(n, 2)``."""
    largest = np.sort(excess, axis=1)[:, -count:]
    found = np.empty((len(largest), 2))
    found[:, 0] = largest[:, -1]
    found[:, 1] = np.add.reduce(largest, axis=1) / largest.shape[1]
    return found


def _usual(excess: Array, count: int) -> Array:
    """Return the peak and the breadth up to which tasks are usual, shape ``(2,)``; never 0."""
    largest = _peak_and_breadth(excess, count).max(axis=0)
    return np.asarray(np.maximum((1.0 + _LEEWAY) * largest, np.log1p(_LEEWAY)))
