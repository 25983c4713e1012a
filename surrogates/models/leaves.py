"""Trees asked about the same rows again and again, of which only a few leading inputs change.

A pool's configs and epochs are known before any question, a task's meta-features only with it. Whether a row
reaches a leaf is so far known but for the leaf's conditions on meta-features, and those say together that
each lies between two thresholds: a box. Leaves with the same box are summed up beforehand, row by row; a
question adds up the boxes that it lies in.

| symbol | meaning |
|---|---|
| B | boxes, over all trees |
| M | leading inputs, which come with the question |
| n | rows, of which many fall into the same leaves everywhere: U different ones |
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from surrogates.data.normalisation import Array


@dataclass(frozen=True, slots=True)
class _Box:
    """Where the leading inputs must lie: above ``low`` and up to ``high``, or missing if that is allowed."""

    low: Array
    high: Array
    missing: NDArray[np.bool_]

    def narrowed(self, place: int, threshold: float, *, left: bool, takes_missing: bool) -> "_Box":
        """Return what is left of it on one side of a split."""
        low, high, missing = self.low.copy(), self.high.copy(), self.missing.copy()
        if left:
            high[place] = min(high[place], threshold)
        else:
            low[place] = max(low[place], threshold)
        missing[place] &= takes_missing
        return _Box(low, high, missing)

    def is_empty(self) -> bool:
        """Whether nothing can lie in it."""
        return bool(((self.low >= self.high) & ~self.missing).any())

    def key(self) -> bytes:
        """Return what equal boxes have in common."""
        return self.low.tobytes() + self.high.tobytes() + self.missing.tobytes()


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafTable:
    """Sums of leaves by box and row; build it with ``of``."""

    low: Array
    """Shape ``(M, B)``."""
    high: Array
    """The same shape."""
    missing: NDArray[np.bool_]
    """Whether a missing input lies in the box; the same shape."""
    sums: Array
    """Shape ``(B, U)``."""
    columns: NDArray[np.int64]
    """Which of the U a row is, shape ``(n,)``."""

    @classmethod
    def of(cls, trees: list[Mapping[str, Any]], leading: int, rows: Array) -> "LeafTable":
        """Build the table.

        Args:
            trees: Their roots, as LightGBM dumps them; with numerical splits only.
            leading: How many inputs come with the question; they are the first ones.
            rows: The other inputs, NaN where missing, at least one row, shape ``(n, d - leading)``.

        Returns:
            The table.
        """
        anywhere = _Box(np.full(leading, -np.inf), np.full(leading, np.inf), np.ones(leading, dtype=bool))
        boxes: dict[bytes, _Box] = {}
        totals: dict[bytes, Array] = {}
        for tree in trees:
            for box, reached, value in _leaves(tree, anywhere, np.arange(len(rows)), rows):
                key = box.key()
                boxes.setdefault(key, box)
                totals.setdefault(key, np.zeros(len(rows)))[reached] += value
        sums = np.array(list(totals.values())).reshape(len(boxes), len(rows))
        different, columns = np.unique(sums, axis=1, return_inverse=True)
        held = list(boxes.values())
        return cls(
            low=np.array([box.low for box in held]).reshape(len(held), leading).T.copy(),
            high=np.array([box.high for box in held]).reshape(len(held), leading).T.copy(),
            missing=np.array([box.missing for box in held], dtype=bool).reshape(len(held), leading).T.copy(),
            sums=np.ascontiguousarray(different),
            columns=columns.reshape(-1).astype(np.int64),
        )

    def at(self, leading: Array) -> Array:
        """Return the sum of all trees.

        Args:
            leading: The question's inputs, NaN where missing, shape ``(M,)``.

        Returns:
            Shape ``(n,)``.
        """
        asked = leading[:, None]
        within = (self.low < asked) & (asked <= self.high)  # a missing one is not: all comparisons fail
        unknown = np.isnan(leading)
        if unknown.any():
            within[unknown] = self.missing[unknown]
        return np.asarray(self.sums[within.all(axis=0)].sum(axis=0)[self.columns])


def _leaves(
    node: Mapping[str, Any], box: _Box, reached: NDArray[np.int64], rows: Array
) -> Iterator[tuple[_Box, NDArray[np.int64], float]]:
    """Yield for every leaf that can be reached its box, the rows that reach it, and its value."""
    if "leaf_value" in node:
        yield box, reached, float(node["leaf_value"])
        return
    threshold, place = float(node["threshold"]), int(node["split_feature"])
    missing_left = _missing_goes_left(node, threshold)
    column = place - len(box.low)
    if column >= 0:
        values = rows[reached, column]
        goes_left = np.where(np.isnan(values), missing_left, values <= threshold)
    for side, left in (("left_child", True), ("right_child", False)):
        narrower, further = box, reached
        if column >= 0:
            further = reached[goes_left == left]
        else:
            narrower = box.narrowed(place, threshold, left=left, takes_missing=missing_left == left)
        if further.size and not narrower.is_empty():
            yield from _leaves(node[side], narrower, further, rows)


def _missing_goes_left(node: Mapping[str, Any], threshold: float) -> bool:
    """Return where a missing value goes; one that was never missing in training is taken for 0."""
    kind = node["missing_type"]
    if node["decision_type"] != "<=" or kind not in ("None", "NaN"):
        raise ValueError(f"a split by {node['decision_type']} with missing {kind} is not one of ours")
    return bool(node["default_left"]) if kind == "NaN" else threshold >= 0.0
