"""Trials as dense arrays: normalised score, loss and cost by task, config and fidelity.

T tasks, C configs and F fidelities in the order of the meta-dataset; NaN where nothing was run.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from surrogates.data.normalisation import Array, TaskScale, median_gap, quantile_scores, to_loss
from surrogates.metadataset import MetaDataset

MOST_FIDELITIES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreTable:
    """What was measured, normalised within tasks."""

    task_ids: tuple[str, ...]
    config_ids: tuple[str, ...]
    epochs: NDArray[np.int64]
    """The fidelities, rising, the last is the largest on record; shape ``(F,)``."""
    scores: Array
    """Score of the best point up to a fidelity, mean over seeds; stopped curves stay flat; ``(T, C, F)``."""
    reached: NDArray[np.bool_]
    """Whether a trial was really run that far, or failed; ``(T, C, F)``."""
    failure_shares: Array
    """Share of trials that failed; ``(T, C)``."""
    full_cost_s: Array
    """Seconds of a run to the last fidelity, told by ``cost_shape`` from shorter ones; NaN where none was
    timed; ``(T, C)``."""
    cost_shape: Array
    """Share of a full run's seconds that is gone at a fidelity, rising to 1; shape ``(F,)``."""
    scales: tuple[TaskScale, ...]
    """How each task's scores read in its own metric; shape ``(T,)``."""

    @property
    def is_run(self) -> NDArray[np.bool_]:
        """Whether the config has a trial on the task; ``(T, C)``."""
        return ~np.isnan(self.failure_shares)


def fidelity_grid(max_epochs: int, most: int = MOST_FIDELITIES) -> NDArray[np.int64]:
    """Return at most ``most`` fidelities, spaced geometrically, from 1 to ``max_epochs``."""
    if max_epochs <= most:
        return np.arange(1, max_epochs + 1)
    return np.unique(np.rint(np.geomspace(1, max_epochs, most)).astype(np.int64))


def build_table(meta: MetaDataset) -> ScoreTable:
    """Normalise a meta-dataset's trials.

    Args:
        meta: Trials and points; at least one task, and on every task a trial that did not fail.

    Returns:
        The table.
    """
    epochs = fidelity_grid(meta.max_epochs)
    task_ids = tuple(task.task_id for task in meta.tasks)
    config_ids = tuple(sorted(meta.configs))
    place = {key: index for index, key in enumerate(config_ids)}
    shape = (len(task_ids), len(config_ids))
    scores = np.full((*shape, len(epochs)), np.nan)
    reached = np.zeros(scores.shape, dtype=bool)
    failure_shares, full_cost_s = np.full(shape, np.nan), np.full(shape, np.nan)
    scales = []
    curves = _curves(meta, epochs)
    for t, task_id in enumerate(task_ids):
        rows = np.flatnonzero((meta.trials["task_id"] == task_id).to_numpy())
        trials = meta.trials.iloc[rows]
        where = np.array([place[key] for key in trials["config_id"]], dtype=np.int64)
        normalised = quantile_scores(curves.losses[rows])
        scales.append(_scale(curves, rows, normalised))
        scores[t] = _mean_by(normalised, where, shape[1])
        np.logical_or.at(reached[t], where, curves.reached[rows])
        failure_shares[t] = _mean_by(trials["is_failure"].to_numpy(float)[:, None], where, shape[1])[:, 0]
        full_cost_s[t] = _mean_by(curves.full_cost_s[rows, None], where, shape[1])[:, 0]
    return ScoreTable(
        task_ids=task_ids,
        config_ids=config_ids,
        epochs=epochs,
        scores=scores,
        reached=reached,
        failure_shares=failure_shares,
        full_cost_s=full_cost_s,
        cost_shape=curves.cost_shape,
        scales=tuple(scales),
    )


@dataclass(frozen=True, slots=True)
class _Curves:
    """The trials' curves at the fidelities, a row a trial."""

    losses: Array
    """Lowest loss up to a fidelity; ``inf`` for a failure."""
    reports: dict[str, Array]
    """The reports at that lowest loss."""
    reached: NDArray[np.bool_]
    full_cost_s: Array
    cost_shape: Array


def _curves(meta: MetaDataset, epochs: NDArray[np.int64]) -> _Curves:
    trial_ids = meta.trials["trial_id"]
    row_of = pd.Series(np.arange(len(trial_ids)), index=trial_ids)
    points = meta.points.sort_values(["trial_id", "epoch"])
    rows = row_of.loc[points["trial_id"]].to_numpy()
    columns = points["epoch"].to_numpy() - 1
    loss = to_loss(points["value"].to_numpy(), meta.direction)
    losses = _fill((len(trial_ids), meta.max_epochs), rows, columns, loss)
    best_at = _running_argmin(losses)
    take = np.arange(len(trial_ids))[:, None]
    failed = meta.trials["is_failure"].to_numpy(bool)
    at = epochs - 1
    best = losses[take, best_at][:, at]
    best[failed] = np.inf
    reports = {
        name: _fill(losses.shape, rows, columns, points[name].to_numpy())[take, best_at][:, at]
        for name in meta.reports
    }
    last = np.zeros(len(trial_ids), dtype=np.int64)
    np.maximum.at(last, rows, columns + 1)
    spent = np.cumsum(np.nan_to_num(_fill(losses.shape, rows, columns, points["cost_s"].to_numpy())), axis=1)
    shape = _cost_shape(spent[last == meta.max_epochs])
    # A run that stopped early is told from what it had cost by then.
    costs = spent[np.arange(len(spent)), np.maximum(last, 1) - 1] / shape[np.maximum(last, 1) - 1]
    costs[(last == 0) | ~(costs > 0)] = np.nan
    reached = (last[:, None] >= epochs) | failed[:, None]
    return _Curves(best, reports, reached, costs, shape[at])


def _cost_shape(spent: Array) -> Array:
    """Return the mean share of a full run's seconds by epoch; even epochs where none was timed.

    Args:
        spent: Seconds up to every epoch of runs that went all the way, shape ``(n, epochs)``.

    Returns:
        Rising to 1, shape ``(epochs,)``.
    """
    timed = spent[spent[:, -1] > 0]
    if not len(timed):
        return np.asarray(np.arange(1, spent.shape[1] + 1) / spent.shape[1])
    shares: Array = (timed / timed[:, -1:]).mean(axis=0)
    return np.maximum(shares, 1e-6)


def _scale(curves: _Curves, rows: NDArray[np.int64], scores: Array) -> TaskScale:
    """Learn how a task's scores read in its metric."""
    losses = curves.losses[rows]
    kept = np.isfinite(losses)
    reports = {name: values[rows][kept] for name, values in curves.reports.items()}
    best = float(losses[kept].min())
    gap = median_gap(losses[:, -1], best)
    return TaskScale.fitted(scores[kept], losses[kept], reports, best=best, gap=gap)


def _fill(
    shape: tuple[int, int], rows: NDArray[np.int64], columns: NDArray[np.int64], values: Array
) -> Array:
    filled = np.full(shape, np.nan)
    filled[rows, columns] = values
    return filled


def _running_argmin(losses: Array) -> NDArray[np.int64]:
    """Return the column of the lowest loss so far; column 0 while there is none."""
    best = np.zeros(losses.shape, dtype=np.int64)
    for column in range(1, losses.shape[1]):
        before = best[:, column - 1]
        held = losses[np.arange(len(losses)), before]
        better = (losses[:, column] < held) | (np.isnan(held) & ~np.isnan(losses[:, column]))
        best[:, column] = np.where(better, column, before)
    return best


def _mean_by(values: Array, where: NDArray[np.int64], count: int) -> Array:
    """Return the mean over rows that share a place, NaN left out; shape ``(count, columns)``."""
    known = ~np.isnan(values)
    totals, counts = np.zeros((count, values.shape[1])), np.zeros((count, values.shape[1]))
    np.add.at(totals, where, np.where(known, values, 0.0))
    np.add.at(counts, where, known)
    with np.errstate(invalid="ignore"):
        return np.asarray(totals / np.where(counts > 0, counts, np.nan))
