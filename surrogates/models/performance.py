"""The performance model: config, meta-features and fidelity to a score, with its errors on tasks left out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from surrogates.data.normalisation import Array
from surrogates.data.score_table import ScoreTable
from surrogates.models.boosting import ROUNDS, Booster, task_folds
from surrogates.models.leaves import LeafTable

_MOST_FOLDS = 8
_CONFIG_PARTS = 5
"""Every fold leaves out one of so many parts of the configs too, so that errors on fresh ones are known."""
_MOST_ROWS = 20_000
_Member = tuple[NDArray[np.bool_], NDArray[np.bool_], Booster]
"""Rows whose task was left out, rows whose config was, and what was trained on the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Predictions for points whose task was left out in training, a row a point."""

    task: NDArray[np.int64]
    config: NDArray[np.int64]
    fidelity: NDArray[np.int64]
    with_features: Array
    """Predicted with the task's meta-features."""
    without_features: Array
    """Predicted for an unknown task."""
    is_fresh: NDArray[np.bool_]
    """Whether the config was left out too."""


class PerformanceModel:
    """Gradient-boosted trees over all tasks, and what an ensemble over tasks says about their errors.

    Every point is learned from twice, once with its task's meta-features and once without any, so that the
    model also answers where they are missing or not to be trusted.

    Args:
        configs: Encoded configs, shape ``(C, D)``.
        features: Encoded meta-features, shape ``(T, M)``.
        table: What was measured.
        seed: Of the trees and the folds.
    """

    def __init__(self, configs: Array, features: Array, table: ScoreTable, *, seed: int) -> None:
        self._epochs = np.log2(table.epochs.astype(float))
        rows = _rows(table, seed)
        self._seed = seed
        self._has_features = features.shape[1] > 0
        self._no_features = np.full(features.shape[1], np.nan)
        targets = table.scores[rows]
        inputs = self._inputs(configs[rows[1]], features[rows[0]], rows[2])
        bare = self._bare(inputs)
        folds = self._folds(rows, table)
        members = [(held, fresh, self._train(inputs, bare, targets, train)) for train, held, fresh in folds]

        # What meta-features tell may wear out sooner than what configs tell: each has its own tree count.
        self._rounds = _best_rounds(members, inputs, targets)
        self._bare_rounds = _best_rounds(members, bare, targets)
        self.left_out = self._left_out(rows, members, inputs, bare)
        everything = np.ones(len(targets), dtype=bool)
        most = max(self._rounds, self._bare_rounds)
        self._booster = self._train(inputs, bare, targets, everything, most)
        self.spread = _spread(self.left_out, table)
        """Standard deviation of the score on tasks or configs left out."""

    def predict(
        self, configs: Array, features: Array | None, fidelities: Sequence[int] | None = None
    ) -> Array:
        """Predict scores.

        Args:
            configs: Encoded configs, shape ``(P, D)``.
            features: The task's encoded meta-features, shape ``(M,)``; None for an unknown task.
            fidelities: Positions among the table's fidelities; None: all.

        Returns:
            Shape ``(P, F)``.
        """
        at = np.arange(len(self._epochs)) if fidelities is None else np.asarray(fidelities, dtype=np.int64)
        repeated = np.repeat(configs, len(at), axis=0)
        task = self._no_features if features is None else features
        inputs = self._inputs(repeated, np.tile(task, (len(repeated), 1)), np.tile(at, len(configs)))
        rounds = self._bare_rounds if features is None else self._rounds
        return self._booster.predict(inputs, rounds).reshape(len(configs), len(at))

    def leaf_table(self, configs: Array) -> LeafTable:
        """Prepare configs for many questions.

        Args:
            configs: Encoded, shape ``(P, D)``.

        Returns:
            What tells, from a task's encoded meta-features, what ``predict`` does; rows by fidelity, then by
            config.
        """
        epochs = np.repeat(self._epochs, len(configs))
        rows = np.concatenate([epochs[:, None], np.tile(configs, (len(self._epochs), 1))], axis=1)
        return self._booster.leaf_table(len(self._no_features), rows, self._rounds)

    def _inputs(self, configs: Array, features: Array, fidelities: NDArray[np.int64]) -> Array:
        return np.concatenate([features, self._epochs[fidelities, None], configs], axis=1)

    def _bare(self, inputs: Array) -> Array:
        bare = inputs.copy()
        bare[:, : len(self._no_features)] = np.nan
        return bare

    def _train(
        self, inputs: Array, bare: Array, targets: Array, chosen: NDArray[np.bool_], rounds: int = ROUNDS[-1]
    ) -> Booster:
        kept, wanted = inputs[chosen], targets[chosen]
        if self._has_features:
            kept, wanted = np.concatenate([kept, bare[chosen]]), np.concatenate([wanted, wanted])
        return Booster(kept, wanted, rounds=rounds, seed=self._seed)

    def _folds(
        self, rows: tuple[NDArray[np.int64], ...], table: ScoreTable
    ) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]]:
        """Return masks of the rows to train on, those left out, and those whose config is left out."""
        tasks, configs = table.scores.shape[:2]
        part = np.random.default_rng(self._seed).permutation(configs) % _CONFIG_PARTS
        by_task = task_folds(tasks, _MOST_FOLDS, seed=self._seed) if tasks > 1 else []
        folds = []
        for number in range(len(by_task) or _CONFIG_PARTS):
            fresh = part[rows[1]] == number % _CONFIG_PARTS
            held = np.isin(rows[0], by_task[number]) if by_task else fresh
            train = ~held & ~fresh
            if train.any() and held.any():
                folds.append((train, held, fresh))
        return folds

    def _left_out(
        self,
        rows: tuple[NDArray[np.int64], ...],
        members: Sequence[_Member],
        inputs: Array,
        bare: Array,
    ) -> LeftOut:
        order = [np.flatnonzero(held) for held, _, _ in members]
        at = np.concatenate(order) if order else np.zeros(0, dtype=np.int64)
        known = [m.predict(inputs[held], self._rounds) for held, _, m in members]
        unknown = [m.predict(bare[held], self._bare_rounds) for held, _, m in members]
        fresh = [is_fresh[held] for held, is_fresh, _ in members]
        return LeftOut(
            task=rows[0][at],
            config=rows[1][at],
            fidelity=rows[2][at],
            with_features=np.concatenate([np.zeros(0), *known]),
            without_features=np.concatenate([np.zeros(0), *unknown]),
            is_fresh=np.concatenate([np.zeros(0, dtype=bool), *fresh]),
        )


def _rows(table: ScoreTable, seed: int) -> tuple[NDArray[np.int64], ...]:
    """Return task, config and fidelity of the points to learn from."""
    rows = np.nonzero(table.reached & ~np.isnan(table.scores))
    if len(rows[0]) <= _MOST_ROWS:
        return rows
    chosen = np.sort(np.random.default_rng(seed).choice(len(rows[0]), _MOST_ROWS, replace=False))
    return tuple(axis[chosen] for axis in rows)


def _best_rounds(members: Sequence[_Member], inputs: Array, targets: Array) -> int:
    """Return the number of trees with the lowest error on the tasks left out, the fewest of equals."""
    if not members:
        return ROUNDS[1]

    def error(rounds: int) -> float:
        """Return the mean squared error with so many trees."""
        gaps = [member.predict(inputs[held], rounds) - targets[held] for held, _, member in members]
        return float(np.mean(np.concatenate(gaps) ** 2))

    return min(ROUNDS, key=error)


def _spread(left_out: LeftOut, table: ScoreTable) -> float:
    gaps = left_out.with_features - table.scores[left_out.task, left_out.config, left_out.fidelity]
    return float(np.sqrt(np.mean(gaps**2))) if gaps.size else 1.0
