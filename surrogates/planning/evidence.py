"""The past trials that a choice rests on, as they stand in the meta-dataset."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from surrogates.data.normalisation import Array, to_loss
from surrogates.data.score_table import ScoreTable
from surrogates.metadataset import MetaDataset
from surrogates.plan import PastTrial


class Evidence:
    """Looks trials up by task and config.

    Args:
        meta: What was learned from.
        table: The same, normalised; gives the order of tasks and configs.
    """

    def __init__(self, meta: MetaDataset, table: ScoreTable) -> None:
        self._tasks = meta.tasks
        self._reports = meta.reports
        self._is_run = table.is_run
        task_at = {key: place for place, key in enumerate(table.task_ids)}
        config_at = {key: place for place, key in enumerate(table.config_ids)}
        trials = meta.trials
        self._trials = list(zip(trials["trial_id"], trials["outcome"], trials["is_failure"], strict=True))
        self._row_of: dict[tuple[int, int], int] = {}
        for row, (task, config) in enumerate(zip(trials["task_id"], trials["config_id"], strict=True)):
            self._row_of.setdefault((task_at[task], config_at[config]), row)
        ids = meta.points["trial_id"].to_numpy()
        starts = np.flatnonzero(np.r_[True, ids[1:] != ids[:-1]]) if len(ids) else np.zeros(0, dtype=np.int64)
        ends = np.r_[starts[1:], len(ids)]
        self._span_of = {str(ids[a]): (int(a), int(b)) for a, b in zip(starts, ends, strict=False)}
        self._epochs = meta.points["epoch"].to_numpy(np.int64)
        self._values = meta.points["value"].to_numpy(float)
        self._losses = to_loss(self._values, meta.direction)
        self._reported = {name: meta.points[name].to_numpy(float) for name in meta.reports}

    def trials(self, distances: Array, task_places: Sequence[int], epochs: int) -> tuple[PastTrial, ...]:
        """Return, for each of some tasks, the trial of the nearest config that it ran.

        Args:
            distances: From the choice to all past configs, shape ``(C,)``.
            task_places: Which tasks, as positions.
            epochs: The choice's; later points are not looked at.

        Returns:
            One trial a task.
        """
        return tuple(self._trial(distances, task, epochs) for task in task_places)

    def _trial(self, distances: Array, task: int, epochs: int) -> PastTrial:
        config = int(np.argmin(np.where(self._is_run[task], distances, np.inf)))
        trial_id, outcome, failed = self._trials[self._row_of[task, config]]
        best = None if failed else self._best_point(str(trial_id), epochs)
        return PastTrial(
            trial_id=str(trial_id),
            task_id=self._tasks[task].task_id,
            task_name=self._tasks[task].name,
            config_distance=float(distances[config]),
            outcome=str(outcome),
            epoch=None if best is None else int(self._epochs[best]),
            value=None if best is None else float(self._values[best]),
            reports={} if best is None else self._reports_at(best),
        )

    def _best_point(self, trial_id: str, epochs: int) -> int | None:
        start, end = self._span_of.get(trial_id, (0, 0))
        at: NDArray[np.int64] = start + np.flatnonzero(self._epochs[start:end] <= epochs)
        return int(at[np.argmin(self._losses[at])]) if at.size else None

    def _reports_at(self, point: int) -> dict[str, float]:
        values = {name: float(column[point]) for name, column in self._reported.items()}
        return {name: value for name, value in values.items() if np.isfinite(value)}
