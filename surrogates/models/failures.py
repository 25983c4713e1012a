"""The failure model: how likely a config is to diverge, run out of memory or be refused."""

import numpy as np
from numpy.typing import NDArray

from surrogates.data.normalisation import Array
from surrogates.models.boosting import ROUNDS, Booster, task_folds
from surrogates.models.leaves import LeafTable

_FEWEST = 10
"""Failures, and successes, below which only rates are told."""
_PSEUDO_TASKS = 2.0
_TRUSTS = np.linspace(0.0, 1.0, 6)


class FailureModel:
    """Learned probability of failure.

    Args:
        configs: Encoded configs, shape ``(C, D)``.
        features: Encoded meta-features, shape ``(T, M)``.
        shares: Share of trials that failed, NaN where none was run, shape ``(T, C)``.
        seed: Of the trees and the folds.
    """

    def __init__(self, configs: Array, features: Array, shares: Array, *, seed: int) -> None:
        tasks, columns = np.nonzero(~np.isnan(shares))
        failed = (shares[tasks, columns] > 0.5).astype(float)
        counts = (~np.isnan(shares)).sum(axis=0)
        self._seed, self._width = seed, features.shape[1]
        self._counts = counts
        self._failures = np.nansum(shares, axis=0)
        self._rate = (failed.sum() + 0.5) / (len(failed) + 1.0)
        self._booster: Booster | None = None
        self._trust = 0.0
        if min(failed.sum(), (1.0 - failed).sum()) >= _FEWEST:
            inputs = np.concatenate([features[tasks], configs[columns]], axis=1)
            self._trust = self._learn_trust(inputs, failed, tasks, len(shares))
            self._booster = self._train(inputs, failed)

    def predict(self, configs: Array, positions: NDArray[np.int64], features: Array) -> Array:
        """Predict the probability of failure.

        Args:
            configs: Encoded configs, shape ``(P, D)``.
            positions: Their positions among the past configs, -1 for fresh ones, shape ``(P,)``.
            features: The task's encoded meta-features, shape ``(M,)``.

        Returns:
            In (0, 1), shape ``(P,)``; drawn towards what past tasks saw of that very config.
        """
        told = np.full(len(configs), self._rate)
        if self._booster is not None and len(configs):
            inputs = np.concatenate([np.tile(features, (len(configs), 1)), configs], axis=1)
            told = self._trusted(self._booster.predict(inputs))
        return self._drawn(told, positions)

    def leaf_table(self, configs: Array) -> LeafTable | None:
        """Prepare configs for many questions.

        Args:
            configs: Encoded, shape ``(P, D)``.

        Returns:
            What ``predict_prepared`` takes; None where only rates are told.
        """
        return None if self._booster is None else self._booster.leaf_table(self._width, configs)

    def predict_prepared(
        self, table: LeafTable, rows: NDArray[np.int64], positions: NDArray[np.int64], features: Array
    ) -> Array:
        """Predict the probability of failure as ``predict`` does.

        Args:
            table: Of a pool.
            rows: Which of the pool, shape ``(n,)``.
            positions: Their positions among the past configs, -1 for fresh ones, shape ``(n,)``.
            features: The task's encoded meta-features, shape ``(M,)``.

        Returns:
            In (0, 1), shape ``(n,)``.
        """
        chances = 1.0 / (1.0 + np.exp(-table.at(features)[rows]))
        return self._drawn(self._trusted(chances), positions)

    def _trusted(self, told: Array) -> Array:
        return np.asarray(self._trust * told + (1.0 - self._trust) * self._rate)

    def _drawn(self, told: Array, positions: NDArray[np.int64]) -> Array:
        """Draw what is told towards what past tasks saw of that very config."""
        seen = positions >= 0
        counts = np.where(seen, self._counts[positions], 0)
        failures = np.where(seen, self._failures[positions], 0.0)
        return np.asarray((failures + _PSEUDO_TASKS * told) / (counts + _PSEUDO_TASKS))

    def _train(self, inputs: Array, failed: Array) -> Booster:
        return Booster(inputs, failed, objective="binary", rounds=ROUNDS[1], seed=self._seed)

    def _learn_trust(self, inputs: Array, failed: Array, tasks: NDArray[np.intp], count: int) -> float:
        """Return the trees' weight, against the plain rate, with the lowest Brier score on tasks left out."""
        told = np.full(len(failed), np.nan)
        for fold in task_folds(count, 4, seed=self._seed) if count > 1 else []:
            held = np.isin(tasks, fold)
            if 0 < failed[~held].sum() < (~held).sum():
                told[held] = self._train(inputs[~held], failed[~held]).predict(inputs[held])
        known = ~np.isnan(told)
        if not known.any():
            return 0.0
        gaps = [np.mean((t * told[known] + (1 - t) * self._rate - failed[known]) ** 2) for t in _TRUSTS]
        return float(_TRUSTS[int(np.argmin(gaps))])
