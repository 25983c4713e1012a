"""What a replay was worth: regret by two rulers, test metrics of the validation incumbent, ranks.

| symbol | meaning |
|---|---|
| best, worst | lowest and highest loss on the task's recorded points, failures left out |
| median | the median over the task's configs of the lowest loss that each reached |
| regret | (incumbent − best) / (median − best): 0 the best on record, 1 the median config; at most 10 |
| range regret | (incumbent − best) / (worst − best), in [0, 1]: Quick-Tune's |

An incumbent is chosen by the metric that decides (validation); its test metrics are those of the same point.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from surrogates.data.normalisation import Array, median_gap, to_loss
from surrogates.evaluation.reading import budget_ends, over_time
from surrogates.evaluation.replay import Replay
from surrogates.metadataset import MetaDataset

MOST_REGRET = 10.0
"""Regret before anything has worked, and cap on any."""
_VALIDATION = ("eval", "validation", "valid", "val")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruler:
    """One metric's extent on one task's record."""

    best: float
    gap: float
    """Median minus best, positive."""
    worst: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRulers:
    """What a task's replays are measured by."""

    median_cost_s: float
    metric: Ruler
    test: Ruler | None
    """Of the test metric; None where there is none on record."""


def normalised_regret(loss: Array | float, best: float, gap: float) -> Array:
    """Return losses' gap to the best, as a multiple of the median's.

    Args:
        loss: Losses of the incumbent, any shape; ``inf`` while there is none.
        best: Lowest loss on record.
        gap: Median loss minus the lowest, positive.

    Returns:
        In [0, 10], the same shape; 0 where the incumbent is the best on record.
    """
    return np.clip((np.asarray(loss, dtype=float) - best) / gap, 0.0, MOST_REGRET)


def range_regret(loss: Array | float, best: float, worst: float) -> Array:
    """Return losses' gap to the best, as a share of the record's whole range.

    Args:
        loss: Losses of the incumbent, any shape; ``inf`` while there is none.
        best: Lowest loss on record.
        worst: Highest loss on record, at least ``best``.

    Returns:
        In [0, 1], the same shape; where all losses on record are equal, 0 for those and 1 for none.
    """
    width = worst - best
    gap = np.asarray(loss, dtype=float) - best
    return np.clip(gap, 0.0, width) / width if width > 0 else np.where(gap > 0, 1.0, 0.0)


def metric_on_test(meta: MetaDataset) -> str | None:
    """Return the report that is the deciding metric's counterpart on the test split; None without one.

    ``test_loss`` is that of ``eval_loss``, ``val_loss`` and the like; its direction is then the metric's.
    """
    prefix, _, rest = meta.metric.partition("_")
    name = f"test_{rest}" if prefix in _VALIDATION and rest else f"test_{meta.metric}"
    return name if name in meta.reports else None


def rulers(meta: MetaDataset, played: Replay) -> TaskRulers:
    """Return what a task's replays are measured by.

    Args:
        meta: The meta-dataset.
        played: The task's record.

    Returns:
        The rulers.
    """
    worked = [curve for curve in played.curves if not curve.failed]
    name = metric_on_test(meta)
    test = None
    if name is not None:
        column = meta.reports.index(name)
        losses = [to_loss(curve.reports[:, column], meta.direction) for curve in worked]
        test = _ruler([known for loss in losses if (known := loss[np.isfinite(loss)]).size])
    metric = _ruler([curve.losses for curve in worked])
    assert metric is not None  # a task that is replayed has a trial that worked
    return TaskRulers(median_cost_s=played.median_cost_s, metric=metric, test=test)


def measure(
    trajectories: pd.DataFrame,
    meta: MetaDataset,
    measured_by: Mapping[str, TaskRulers],
    budgets: Sequence[float],
    *,
    own_time: bool,
) -> pd.DataFrame:
    """Read replays at the end of each budget.

    Args:
        trajectories: Rows of ``replay``, of any number of methods.
        meta: The meta-dataset.
        measured_by: Task id to its rulers.
        budgets: Multiples of a task's median cost of a full run; those that were replayed.
        own_time: Whether the method's own seconds count.

    Returns:
        One row a method, task, seed and budget: loss (``inf`` where nothing worked), regret, range_regret,
        test (the test metric as it is measured; NaN without one), test_regret, own_s, configs (that got any
        epoch), rank (1 is best; among all methods of the task, seed and budget; ties share their mean).
    """
    name = metric_on_test(meta)
    measured = []
    units_s = {task_id: by.median_cost_s for task_id, by in measured_by.items()}
    for end in budget_ends(trajectories, units_s, budgets, own_time=own_time):
        by = measured_by[end.task_id]
        test = float(end.row[name]) if name is not None else np.nan
        test_loss = np.nan if np.isnan(test) else float(to_loss(np.array(test), meta.direction))
        measured.append(
            {
                "method": end.method,
                "task_id": end.task_id,
                "seed": end.seed,
                "budget": end.budget,
                "loss": end.loss,
                "regret": float(normalised_regret(end.loss, by.metric.best, by.metric.gap)),
                "range_regret": float(range_regret(end.loss, by.metric.best, by.metric.worst)),
                "test": test,
                "test_regret": np.nan
                if by.test is None or np.isnan(test_loss)
                else float(normalised_regret(test_loss, by.test.best, by.test.gap)),
                "own_s": end.own_s,
                "configs": end.configs,
            }
        )
    frame = pd.DataFrame(measured)
    return frame.assign(rank=frame.groupby(["task_id", "seed", "budget"])["loss"].rank(method="average"))


def regret_over_time(
    trajectories: pd.DataFrame,
    measured_by: Mapping[str, TaskRulers],
    budget: float,
    grid: Array,
    *,
    own_time: bool,
) -> pd.DataFrame:
    """Return how regret fell while a budget was spent, on a time grid that all tasks share.

    Args:
        trajectories: Rows of ``replay``, of any number of methods.
        measured_by: Task id to its rulers.
        budget: Which budget was planned for; one of those replayed.
        grid: Multiples of a task's median cost of a full run, rising, shape ``(G,)``.
        own_time: Whether the method's own seconds count.

    Returns:
        One row a method and grid point: time (of the grid), regret (mean over tasks of the mean over seeds).
    """

    def regrets(task_id: str, run: pd.DataFrame) -> Array:
        by = measured_by[task_id]
        return normalised_regret(run["loss"].to_numpy(float), by.metric.best, by.metric.gap)

    units_s = {task_id: by.median_cost_s for task_id, by in measured_by.items()}
    lines = over_time(trajectories, units_s, budget, grid, regrets, own_time=own_time)
    return lines.rename(columns={"value": "regret"})


def _ruler(losses: Sequence[Array]) -> Ruler | None:
    """Return the extent of the losses of each config; None where there are none."""
    if not losses:
        return None
    lowest = np.array([loss.min() for loss in losses])
    best = float(lowest.min())
    return Ruler(
        best=best, gap=median_gap(lowest, best), worst=float(max(float(loss.max()) for loss in losses))
    )
