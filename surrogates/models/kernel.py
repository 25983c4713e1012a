"""The kernel model: a Gaussian process over all tasks and configs at once, hierarchical in the tasks.

What every task has in common, what tasks with like meta-features have in common, and what is a task's own are
three parts of one covariance (``kernel_parameters``), so how far a past task's word carries is read off the
data. Beside predictions for a new task it tells, without fitting again, what it would have said of every past
task had that task never been tried (leave-one-out in closed form, block by block).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky

from surrogates.data.encoding import ConfigEncoder
from surrogates.data.normalisation import Array
from surrogates.models.kernel_parameters import inverse_of, learn_parameters, matern

_MOST_ROWS = 2_000
"""Trials that predictions rest on; more are drawn from."""
_MOST_LEARNED = 400
"""Trials that the parameters are learned on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """What a pool of configs shares with the past trials; does not depend on the task asked about."""

    by_task: Array
    """Of every past task's trials, shape ``(T, P, F)``."""
    own: Array
    """Of the trials that ran the very config, shape ``(P, F)``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskLeftOut:
    """Predictions for past tasks as if never tried; shape ``(T, C, F)``, NaN where not asked."""

    with_features: Array
    """Predicted with the task's meta-features."""
    without_features: Array
    """Predicted for an unknown task."""


class KernelModel:
    """A hierarchical Gaussian process.

    Args:
        encoder: Of configs.
        configs: Encoded past configs, shape ``(C, D)``.
        features: Encoded meta-features of the past tasks, NaN where not measured, shape ``(T, M)``.
        scores: Shape ``(T, C, F)``; NaN where not run.
        seed: Of the draw among many trials.
        leaves_out: Whether ``left_out`` and ``left_out_fresh`` will be asked.
    """

    def __init__(
        self,
        encoder: ConfigEncoder,
        configs: Array,
        features: Array,
        scores: Array,
        *,
        seed: int,
        leaves_out: bool = True,
    ) -> None:
        self._encoder, self._configs = encoder, configs
        self._features = np.nan_to_num(features)  # z-scores: 0 is the mean
        rng = np.random.default_rng(seed)
        rows = _drawn(np.argwhere(~np.isnan(scores[:, :, -1])), _MOST_ROWS, rng)
        self._tasks, self._rows = rows[:, 0], rows[:, 1]
        raw = scores[self._tasks, self._rows]
        self.mean = np.nanmean(raw, axis=0)
        centred = np.where(np.isnan(raw), 0.0, raw - self.mean)
        few = _drawn(np.arange(len(rows)), _MOST_LEARNED, rng)
        used, of_trial = np.unique(self._rows[few], return_inverse=True)
        self.parameters = learn_parameters(
            encoder.differences(configs[used], configs[used]),
            self._features,
            self._tasks[few],
            of_trial,
            centred[few],
        )
        factor = cholesky(self._covariance(), lower=True)
        self.alpha: Array = np.asarray(cho_solve((factor, True), centred), dtype=np.float64)
        """Weights of the trials, shape ``(n, F)``."""
        self._inverse: Array | None = inverse_of(factor) if leaves_out else None

    def project(self, configs: Array, places: NDArray[np.int64]) -> Projection:
        """Prepare a pool of configs.

        Args:
            configs: Encoded, shape ``(P, D)``.
            places: Their positions among the past configs, -1 for fresh ones, shape ``(P,)``.

        Returns:
            What ``predict`` needs of them.
        """
        return self._project(self._likeness_to_trials(configs), places, self.alpha)

    def predict(self, projection: Projection, features: Array | None) -> Array:
        """Predict scores on a new task.

        Args:
            projection: Of the pool asked about.
            features: The task's encoded meta-features, shape ``(M,)``; None for an unknown task.

        Returns:
            Shape ``(P, F)``.
        """
        return self._combined(projection, self.told(features))

    def parts(self, projection: Projection) -> tuple[Array, Array]:
        """Take a pool's predictions apart, for many questions about it.

        Args:
            projection: Of the pool.

        Returns:
            What is predicted for an unknown task, shape ``(P, F)``, and what is added for every past task,
            times what ``told`` says of it, shape ``(T, P, F)``.
        """
        unknown = self._combined(projection, self.told(None))
        return unknown, self.parameters.by_features * projection.by_task

    def told(self, features: Array | None) -> Array:
        """Return how alike a task is to every past one by its meta-features, shape ``(T,)``."""
        if features is None:
            return np.zeros(len(self._features))
        return np.asarray(self.parameters.task_likeness(np.nan_to_num(features)[None], self._features)[0])

    def likeness(self, left: Array, right: Array) -> Array:
        """Return how alike configs are in what tells scores.

        Args:
            left: Encoded configs, shape ``(n, D)``.
            right: Encoded configs, shape ``(m, D)``.

        Returns:
            In [0, 1], 1 for equal ones, shape ``(n, m)``.
        """
        return matern(self._encoder.scaled_squares(left, right, self.parameters.config_scales))[0]

    def left_out(self, is_run: NDArray[np.bool_]) -> TaskLeftOut:
        """Return what would have been predicted for every past task, had nothing been run there.

        Args:
            is_run: Where to predict, shape ``(T, C)``.

        Returns:
            The predictions.
        """
        return self._left_out(is_run, lambda task: self._tasks == task)

    def left_out_fresh(self, asked: NDArray[np.bool_]) -> TaskLeftOut:
        """Return what would have been predicted, had nothing been run on the task and no task run the config.

        Args:
            asked: Where to predict, shape ``(T, C)``; a task's configs are left out together.

        Returns:
            The predictions.
        """
        return self._left_out(asked, lambda task: (self._tasks == task) | asked[task][self._rows])

    def settle(self) -> None:
        """Forget what only leaving out needs: most of what a model of many trials takes, on disk too."""
        self._inverse = None

    def _left_out(self, asked: NDArray[np.bool_], without: Callable[[int], NDArray[np.bool_]]) -> TaskLeftOut:
        """Predict past tasks' configs from all trials but, task by task, those left out."""
        if self._inverse is None:
            raise ValueError("the model has been settled, or learned to leave nothing out")
        told = np.full((*asked.shape, len(self.mean)), np.nan)
        untold = told.copy()
        before, kernel = np.zeros(0, dtype=np.int64), np.zeros((0, 0))
        for task, wanted in enumerate(asked):
            configs = np.flatnonzero(wanted)
            if not configs.size:
                continue
            if not np.array_equal(configs, before):  # tasks that ran the same ones share it
                before, kernel = configs, self._likeness_to_trials(self._configs[configs])
            kept = self._alpha_without(without(task), self._inverse)
            projection = self._project(kernel, configs, kept)
            told[task, configs] = self._combined(projection, self.told(self._features[task]))
            untold[task, configs] = self._combined(projection, self.told(None))
        return TaskLeftOut(with_features=told, without_features=untold)

    def _alpha_without(self, without: NDArray[np.bool_], inverse: Array) -> Array:
        """Return the weights as if these trials had not been run; theirs are 0."""
        out = np.flatnonzero(without)
        if not out.size:
            return self.alpha
        solved = np.linalg.solve(inverse[np.ix_(out, out)], self.alpha[out])
        kept: Array = self.alpha - inverse[:, out] @ solved
        kept[out] = 0.0
        return kept

    def _project(self, kernel: Array, places: NDArray[np.int64], alpha: Array) -> Projection:
        count = len(self._features)
        by_task = np.stack([kernel[:, self._tasks == t] @ alpha[self._tasks == t] for t in range(count)])
        totals = np.zeros((len(self._configs) + 1, alpha.shape[1]))
        np.add.at(totals, self._rows, alpha)
        return Projection(by_task=by_task, own=totals[places])  # -1 reads the last row: nothing

    def _combined(self, projection: Projection, told: Array) -> Array:
        weights = self.parameters.shared + self.parameters.by_features * told
        common: Array = np.tensordot(weights, projection.by_task, axes=1)
        return np.asarray(self.mean + common + self.parameters.per_config * projection.own)

    def _likeness_to_trials(self, configs: Array) -> Array:
        """Return how alike configs are to each trial's; worked out once for all trials of a config."""
        used, of_trial = np.unique(self._rows, return_inverse=True)
        return np.take(self.likeness(configs, self._configs[used]), of_trial, axis=1)

    def _covariance(self) -> Array:
        learned = self.parameters
        used, of_trial = np.unique(self._rows, return_inverse=True)
        kernel = np.take(self._likeness_to_trials(self._configs[used]), of_trial, axis=0)
        alike = learned.task_likeness(self._features, self._features)
        between = learned.shared + learned.by_features * alike + learned.own * np.eye(len(alike))
        covariance: Array = between[np.ix_(self._tasks, self._tasks)]
        covariance *= kernel
        covariance[self._rows[:, None] == self._rows[None, :]] += learned.per_config
        np.einsum("ii->i", covariance)[:] += learned.noise
        return covariance


def _drawn(rows: NDArray[np.int64], most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the rows, or so many of them drawn at random, in their order."""
    if len(rows) <= most:
        return rows
    return rows[np.sort(rng.choice(len(rows), most, replace=False))]
