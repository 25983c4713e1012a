"""All past tasks' scales at once: what many scores meant on each of them.

A scale is a broken line through its knots, level beyond them. Which piece of it a score lies on is found by a
table of equally wide bins, a few of them a piece, instead of a search: one look, and as many steps on as
pieces begin in a bin, mostly one.

| symbol | meaning | shape |
|---|---|---|
| T, N | tasks, scores a task | |
| place | the piece a score lies on, numbered through all tasks | (..., T, N) |
| beyond | how far beyond the piece's start | (..., T, N) |
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from surrogates.data.normalisation import Array, TaskScale

_BINS = 512
"""A task; more of them take memory, fewer take steps."""
_LEEWAY = 0.01
"""Share of a bin by which rounding may miss it; far more than it does."""


@dataclass(frozen=True, slots=True)
class Line:
    """A quantity along all tasks' scales, a value and a slope a piece."""

    values: Array
    """Where the piece starts; in the first of a task, its end."""
    slopes: Array


@dataclass(frozen=True, slots=True)
class Found:
    """Where scores lie; see the notation above."""

    place: NDArray[np.intp]
    beyond: Array

    def read(self, line: Line) -> Array:
        """Return what a quantity is there, in the same shape."""
        told = np.take(line.slopes, self.place)
        told *= self.beyond
        told += np.take(line.values, self.place)
        return told


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """Build them with ``of``."""

    goodness: Line
    losses: Line
    reports: dict[str, Line]
    per_unit: Array
    """Bins a unit of score, shape ``(T, 1)``."""
    offset: Array
    """Bin, among all tasks' bins, of the score 0, shape ``(T, 1)``."""
    first_bin: Array
    """Number of a task's first bin, in which is all below its knots, shape ``(T, 1)``."""
    first_piece: NDArray[np.intp]
    """The piece at the beginning of each bin; shape ``(T * bins,)``."""
    next_start: Array
    """Where the piece after a piece starts; infinite after a task's last."""
    anchor: Array
    """Where a piece starts, or where the first of a task ends."""
    steps: int
    """Most pieces that begin in a bin."""

    @classmethod
    def of(cls, scales: Sequence[TaskScale]) -> "Readings":
        """Prepare scales.

        Args:
            scales: The tasks', at least one.

        Returns:
            What reads them all.
        """
        names = list(scales[0].reports)
        pieces = [_starts(scale.scores) for scale in scales]
        counts = [len(starts) + 1 for starts in pieces]
        offsets = np.cumsum([0, *counts[:-1]])
        lowest = np.array([scale.scores[0] for scale in scales])
        widths = np.array([scale.scores[-1] for scale in scales]) - lowest
        per_unit = (_BINS - 2) / np.where(widths > 0, widths, 1.0)
        first_bin: Array = np.arange(len(scales), dtype=np.float64) * _BINS
        first_piece, steps = [], 0
        for task, (scale, starts) in enumerate(zip(scales, pieces, strict=True)):
            edges = lowest[task] + (np.arange(_BINS + 1) - 1.0) / per_unit[task]
            leeway = _LEEWAY / per_unit[task]
            before = np.searchsorted(scale.scores[starts], edges[:-1] - leeway, side="right")
            after = np.searchsorted(scale.scores[starts], edges[1:] + leeway, side="right")
            first_piece.append(offsets[task] + before)
            steps = max(steps, int(np.max(after - before)))
        starts_at = [scale.scores[starts] for scale, starts in zip(scales, pieces, strict=True)]
        return cls(
            goodness=_line([scale.goodness for scale in scales], scales, pieces),
            losses=_line([scale.losses for scale in scales], scales, pieces),
            reports={
                name: _line([scale.reports[name] for scale in scales], scales, pieces) for name in names
            },
            per_unit=per_unit[:, None],
            offset=(first_bin + 1.0 - lowest * per_unit)[:, None],
            first_bin=first_bin[:, None],
            first_piece=np.concatenate(first_piece).astype(np.intp),
            next_start=np.concatenate([np.append(at, np.inf) for at in starts_at]),
            anchor=np.concatenate([np.append(at[:1], at) for at in starts_at]),
            steps=steps,
        )

    def find(self, scores: Array) -> Found:
        """Find scores on the scales.

        Args:
            scores: Shape ``(..., T, N)``, finite.

        Returns:
            Where they lie.
        """
        bins = scores * self.per_unit
        bins += self.offset
        np.maximum(bins, self.first_bin, out=bins)
        np.minimum(bins, self.first_bin + (_BINS - 1.0), out=bins)
        place = np.take(self.first_piece, bins.astype(np.intp))
        for _ in range(self.steps):
            place += scores >= np.take(self.next_start, place)
        return Found(place, scores - np.take(self.anchor, place))


def _starts(knots: Array) -> NDArray[np.intp]:
    """Return the knots at which pieces start: of equal ones the last."""
    return np.flatnonzero(np.append(knots[1:] > knots[:-1], True))


def _line(values: Sequence[Array], scales: Sequence[TaskScale], pieces: Sequence[NDArray[np.intp]]) -> Line:
    """Return values at the knots as one line, level before a task's first knot and from its last on."""
    levels, slopes = [], []
    for at_knots, scale, starts in zip(values, scales, pieces, strict=True):
        knots = scale.scores
        ends = starts[:-1] + 1  # where knots are equal the piece ends at the first of them
        rises = (at_knots[ends] - at_knots[starts[:-1]]) / (knots[ends] - knots[starts[:-1]])
        levels.append(np.concatenate([at_knots[:1], at_knots[starts]]))
        slopes.append(np.concatenate([[0.0], rises, [0.0]]))
    return Line(np.concatenate(levels), np.concatenate(slopes))
