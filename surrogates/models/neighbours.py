"""How like the past tasks a new one is, and so how much their evidence weighs."""

from dataclasses import dataclass

import numpy as np

from surrogates.data.normalisation import Array

_BANDWIDTHS = (0.25, 0.5, 1.0, 2.0)
"""Tried as multiples of the median distance between past tasks; beside them infinity: all tasks alike."""
_FEWEST_TASKS = 4
"""Below this many tasks a bandwidth can't be told from luck."""
_LEAST_GAIN = 0.01
"""Share of the error that a bandwidth must take away."""
_EXACT = 1e-12
"""Mean squared error of scores below which there is nothing to tell apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbourhood:
    """Past tasks by their encoded meta-features."""

    features: Array
    """Shape ``(T, M)``, z-scores, NaN where not measured."""
    bandwidth: float
    """Distance at which a past task's weight has fallen to 0.61; infinite where likeness does not help."""

    def distances(self, features: Array) -> Array:
        """Return root-mean-square differences to the past tasks.

        Args:
            features: The new task's, shape ``(M,)``.

        Returns:
            Shape ``(T,)``; NaN where no feature is known of both.
        """
        return np.asarray(task_distances(features[None, :], self.features)[0])


def task_distances(left: Array, right: Array) -> Array:
    """Return root-mean-square differences over the features known of both; NaN where there are none."""
    difference = left[:, None, :] - right[None, :, :]
    known = ~np.isnan(difference)
    squares = np.where(known, difference, 0.0) ** 2
    counts = known.sum(axis=2)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.sqrt(squares.sum(axis=2) / np.where(counts > 0, counts, np.nan)))


def likeness(distances: Array, bandwidth: float) -> Array:
    """Return Gaussian weights of tasks at these distances.

    Args:
        distances: Shape ``(n,)``; a task at an unknown distance counts as the farthest.
        bandwidth: In the same unit; infinite weighs all alike.

    Returns:
        Shape ``(n,)``, sum 1.
    """
    unknown = np.isnan(distances)
    if unknown.all() or np.isinf(bandwidth):
        return np.full(len(distances), 1.0 / len(distances))
    filled = np.where(unknown, np.nanmax(distances), distances) if unknown.any() else distances
    # Measured from the nearest, so that far from all of them the weights do not underflow.
    raw = np.exp(-0.5 * (filled**2 - filled.min() ** 2) / bandwidth**2)
    return np.asarray(raw / raw.sum())


def weighted_scores(weights: Array, scores: Array) -> tuple[Array, Array]:
    """Average past tasks' scores config by config.

    Args:
        weights: Of the past tasks, one row a question, shape ``(Q, T)``.
        scores: Shape ``(T, C, F)``; NaN where not run.

    Returns:
        The weighted means, 0 where no weight is on a run, shape ``(Q, C, F)``; and, in the same shape, the
        number of tasks behind them, counted as if all weighed alike.
    """
    run = ~np.isnan(scores)
    held = np.tensordot(weights, run.astype(float), axes=1)
    sums = np.tensordot(weights, np.where(run, scores, 0.0), axes=1)
    squares = np.tensordot(weights**2, run.astype(float), axes=1)
    some = held > 0
    means = np.divide(sums, held, out=np.zeros_like(sums), where=some)
    counts = np.divide(held**2, squares, out=np.zeros_like(sums), where=some)
    return means, counts


def learn_bandwidth(features: Array, scores: Array) -> float:
    """Choose the bandwidth that predicts tasks left out best, if it beats even weights by more than luck.

    Args:
        features: Encoded meta-features, shape ``(T, M)``.
        scores: Shape ``(T, C, F)``; NaN where not run.

    Returns:
        The bandwidth, infinite where likeness does not help by one standard error over the tasks.
    """
    tasks = len(features)
    if tasks < _FEWEST_TASKS or features.shape[1] == 0:
        return np.inf
    between = task_distances(features, features)
    off_diagonal = between[~np.eye(tasks, dtype=bool)]
    if np.isnan(off_diagonal).all() or np.nanmedian(off_diagonal) <= 0:
        return np.inf
    unit = float(np.nanmedian(off_diagonal))
    even = _errors(between, scores, np.inf)
    best, lowest = np.inf, even.mean()
    if lowest < _EXACT:
        return np.inf
    for multiple in _BANDWIDTHS:
        errors = _errors(between, scores, multiple * unit)
        gain = even - errors
        luck = gain.std(ddof=1) / np.sqrt(tasks)
        if gain.mean() > max(luck, _LEAST_GAIN * even.mean()) and errors.mean() < lowest:
            best, lowest = multiple * unit, errors.mean()
    return best


def leave_one_out_weights(between: Array, bandwidth: float) -> Array:
    """Return for every past task the weights of the others, its own 0; shape ``(T, T)``."""
    tasks = len(between)
    weights = np.zeros((tasks, tasks))
    for t in range(tasks):
        others = np.arange(tasks) != t
        if others.any():
            weights[t, others] = likeness(between[t, others], bandwidth)
    return weights


def _errors(between: Array, scores: Array, bandwidth: float) -> Array:
    """Return the mean squared error of each task's scores, told from the others; shape ``(T,)``."""
    means, counts = weighted_scores(leave_one_out_weights(between, bandwidth), scores)
    comparable = (counts > 0) & ~np.isnan(scores)
    squares = np.where(comparable, (np.nan_to_num(scores) - means) ** 2, 0.0)
    totals = comparable.sum(axis=(1, 2))
    return np.asarray(squares.sum(axis=(1, 2)) / np.maximum(totals, 1))
