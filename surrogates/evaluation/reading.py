"""Reading trajectories: which point holds a run's incumbent at a time, above all at the end of a budget."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from surrogates.data.normalisation import Array
from surrogates.evaluation.loop import ROUND_OFF

CELL = ["method", "task_id", "seed"]
"""Columns that name the runs of one method on one task with one seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetEnd:
    """Where a method stands at the end of a budget."""

    method: str
    task_id: str
    seed: int
    budget: float
    """A multiple of the task's unit."""
    row: Mapping[str, Any]
    """The trajectory's row that holds the incumbent."""
    configs: int
    """That got any epoch."""

    @property
    def loss(self) -> float:
        """The incumbent's; ``inf`` where there is none."""
        return float(self.row["loss"])

    @property
    def own_s(self) -> float:
        """The method's own seconds until its incumbent."""
        return float(self.row["own_s"])


def budget_ends(
    trajectories: pd.DataFrame, units_s: Mapping[str, float], budgets: Sequence[float], *, own_time: bool
) -> Iterator[BudgetEnd]:
    """Return where each method stands at the end of each budget.

    Args:
        trajectories: Rows of ``loop.run_budgets``, of any number of methods.
        units_s: Task id to the seconds that budgets are multiples of.
        budgets: Those that were run.
        own_time: Whether the method's own seconds count.

    Yields:
        One a method, task, seed and budget.
    """
    for (method, task_id, seed), runs in trajectories.groupby(CELL, sort=False):
        for budget in budgets:
            rows = planned_for(runs, budget)
            at = int(incumbents_at(rows, np.array(budget * units_s[str(task_id)]), own_time=own_time))
            yield BudgetEnd(
                method=str(method),
                task_id=str(task_id),
                seed=int(str(seed)),
                budget=float(budget),
                row={str(name): value for name, value in rows.iloc[at].items()},
                configs=int(rows["candidate"].iloc[: at + 1].nunique()),
            )


def over_time(
    trajectories: pd.DataFrame,
    units_s: Mapping[str, float],
    budget: float,
    grid: Array,
    value: Callable[[str, pd.DataFrame], Array],
    *,
    own_time: bool,
) -> pd.DataFrame:
    """Return how a number of the incumbent went while a budget was spent, on a grid that all tasks share.

    Args:
        trajectories: Rows of ``loop.run_budgets``, of any number of methods.
        units_s: Task id to the seconds that budgets are multiples of.
        budget: Which budget was planned for; one of those that were run.
        grid: Multiples of a task's unit, rising, shape ``(G,)``.
        value: From a task's id and rows to the number at each of them.
        own_time: Whether the method's own seconds count.

    Returns:
        One row a method and grid point: time (of the grid), value (mean over tasks of the mean over seeds).
    """
    rows = []
    for (method, task_id, _), runs in trajectories.groupby(CELL, sort=False):
        run = planned_for(runs, budget)
        at = incumbents_at(run, grid * units_s[str(task_id)], own_time=own_time)
        values = value(str(task_id), run)[at]
        rows.append(pd.DataFrame({"method": method, "task_id": task_id, "time": grid, "value": values}))
    whole = pd.concat(rows, ignore_index=True)
    by_task = whole.groupby(["method", "task_id", "time"], sort=False)["value"].mean()
    return by_task.groupby(["method", "time"], sort=False).mean().reset_index()


def incumbents_at(rows: pd.DataFrame, times_s: Array, *, own_time: bool) -> NDArray[np.int64]:
    """Return which row of one run holds its incumbent at these times.

    Args:
        rows: Of one run, in order.
        times_s: Seconds since the start, any shape.
        own_time: Whether the method's own seconds count.

    Returns:
        Positions among the rows; 0, where nothing was trained yet, before the first epoch ends.
    """
    clock = rows["train_s"].to_numpy(float) + (rows["own_s"].to_numpy(float) if own_time else 0.0)
    clock[0] = 0.0  # what holds before the first step holds from the start
    return np.searchsorted(clock, times_s * (1 + ROUND_OFF), side="right").astype(np.int64) - 1


def planned_for(runs: pd.DataFrame, budget: float) -> pd.DataFrame:
    """Return one cell's run for a budget: the one planned for it, or the only one there is."""
    own = runs[runs["budget"] == budget]
    return own if len(own) else runs[runs["budget"] == runs["budget"].max()]
