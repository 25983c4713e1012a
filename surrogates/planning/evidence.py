"""The past trials that a choice rests on, as they stand in the meta-dataset."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from surrogates.data.normalisation import Array, to_loss
from surrogates.data.score_table import ScoreTable
from surrogates.metadataset import MetaDataset
from surrogates.plan import PastTrial

_NOTHING = -1


@dataclass(frozen=True, slots=True)
class Nearest:
    """Of every task the config that it ran nearest to each of P configs."""

    place: NDArray[np.int64]
    """Among the past configs, shape ``(T, P)``."""
    distance: Array
    """In the same shape."""

    @classmethod
    def of(cls, distances: Array, is_run: NDArray[np.bool_]) -> "Nearest":
        """Look for them.

        Args:
            distances: From the P configs to all past ones, shape ``(P, C)``.
            is_run: Which of them each task ran, shape ``(T, C)``.

        Returns:
            The nearest.
        """
        place = np.stack([np.argmin(np.where(run, distances, np.inf), axis=1) for run in is_run])
        return cls(place, distances[np.arange(len(distances)), place])


class Evidence:
    """Looks trials up by task and config.

    Args:
        meta: What was learned from.
        table: The same, normalised; gives the order of tasks, configs and fidelities.
    """

    def __init__(self, meta: MetaDataset, table: ScoreTable) -> None:
        self._tasks = meta.tasks
        task_at = {key: place for place, key in enumerate(table.task_ids)}
        config_at = {key: place for place, key in enumerate(table.config_ids)}
        trials = meta.trials
        self._trials = list(zip(map(str, trials["trial_id"]), map(str, trials["outcome"]), strict=True))
        self._row_of = np.full(table.is_run.shape, _NOTHING)
        tasks = [task_at[key] for key in trials["task_id"]][::-1]
        configs = [config_at[key] for key in trials["config_id"]][::-1]
        self._row_of[tasks, configs] = np.arange(len(trials))[::-1]  # the first of several stands
        self._best = _best_points(meta, table.epochs)
        self._best[trials["is_failure"].to_numpy(bool)] = _NOTHING
        self._epochs = meta.points["epoch"].to_numpy(np.int64)
        self._values = meta.points["value"].to_numpy(float)
        self._reported = {name: meta.points[name].to_numpy(float) for name in meta.reports}

    def trials(
        self, nearest: Nearest, config: int, task_places: Sequence[int], fidelity: int
    ) -> tuple[PastTrial, ...]:
        """Return, for each of some tasks, the trial of the nearest config that it ran.

        Args:
            nearest: To a pool of configs.
            config: Which of the pool.
            task_places: Which tasks, as positions.
            fidelity: The choice's; later points are not looked at.

        Returns:
            One trial a task.
        """
        return tuple(
            self._trial(task, nearest.place.item(task, config), nearest.distance.item(task, config), fidelity)
            for task in task_places
        )

    def _trial(self, task: int, config: int, distance: float, fidelity: int) -> PastTrial:
        row = self._row_of.item(task, config)
        trial_id, outcome = self._trials[row]
        best = self._best.item(row, fidelity)
        known = best != _NOTHING
        return PastTrial(
            trial_id=trial_id,
            task_id=self._tasks[task].task_id,
            task_name=self._tasks[task].name,
            config_distance=distance,
            outcome=outcome,
            epoch=self._epochs.item(best) if known else None,
            value=self._values.item(best) if known else None,
            reports=self._reports_at(best) if known else {},
        )

    def _reports_at(self, point: int) -> dict[str, float]:
        values = {name: column.item(point) for name, column in self._reported.items()}
        return {name: value for name, value in values.items() if math.isfinite(value)}


def _best_points(meta: MetaDataset, epochs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the place of every trial's best point up to a fidelity, of equals the first; ``(trials, F)``."""
    row_of = {trial: row for row, trial in enumerate(meta.trials["trial_id"])}
    rows = np.array([row_of[trial] for trial in meta.points["trial_id"]], dtype=np.int64)
    losses = to_loss(meta.points["value"].to_numpy(float), meta.direction)
    reached = meta.points["epoch"].to_numpy(np.int64)
    best = np.full((len(row_of), len(epochs)), _NOTHING, dtype=np.int64)
    order = np.lexsort((losses, rows))[::-1]  # the last to be written stands: the lowest loss, the first row
    for fidelity, epoch in enumerate(epochs):
        kept = order[reached[order] <= epoch]
        best[rows[kept], fidelity] = kept
    return best
