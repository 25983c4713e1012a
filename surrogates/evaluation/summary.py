"""A comparison in numbers: each method at each budget, with intervals, ranks and tests against ours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from surrogates.data.normalisation import Array
from surrogates.evaluation.ours import OURS
from surrogates.evaluation.statistics import Interval, Paired, bootstrap_mean, compare


@dataclass(frozen=True, slots=True, kw_only=True)
class AtBudget:
    """One method at the end of one budget; means over tasks of means over seeds."""

    budget: float
    """A multiple of each task's median cost of a full run."""
    regret: Interval
    range_regret: Interval
    rank: float
    """1 would be the best of all methods on every task."""
    test: float | None
    """The test metric of the validation incumbent, as it is measured, over ``test_tasks``; None without."""
    test_tasks: int
    """Tasks on which every seed had an incumbent whose test metric is known."""
    test_regret: float | None
    own_s: float
    """The method's own seconds until its incumbent."""
    configs: float
    """Configs that got any epoch."""
    against: Paired | None
    """Ours against this method, by regret; None for ours, and where ours was not run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodSummary:
    """One method."""

    name: str
    at: tuple[AtBudget, ...]
    """In the order of the budgets."""


def summarise(measured: pd.DataFrame) -> tuple[MethodSummary, ...]:
    """Sum up what was measured.

    Args:
        measured: Rows of ``regret.measure``; every method on the same tasks, seeds and budgets.

    Returns:
        The methods, those with the lowest regret over all budgets first.
    """
    by_task = task_means(
        measured, ("regret", "range_regret", "rank", "test", "test_regret", "own_s", "configs")
    )
    ordered = by_task.groupby("method")["regret"].mean().sort_values(kind="stable")
    names = [str(name) for name in ordered.index]
    budgets = sorted(float(budget) for budget in by_task["budget"].unique())
    at = {(name, budget): row for budget in budgets for name, row in _at(by_task, names, budget).items()}
    return tuple(MethodSummary(name=name, at=tuple(at[name, budget] for budget in budgets)) for name in names)


def task_means(measured: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Average what was measured over the seeds of each method, budget and task.

    Args:
        measured: Columns method, budget, task_id, seed and these.
        columns: What is averaged; NaN where a seed has none.

    Returns:
        One row a method, budget and task.
    """
    groups = measured.groupby(["method", "budget", "task_id"], as_index=False)[list(columns)]
    return groups.agg(_whole_mean)


def against_ours(by_method: Mapping[str, Array]) -> dict[str, Paired]:
    """Compare ours with each other method at one budget.

    Args:
        by_method: Method to the number that decides, one a task in the same order; lower is better.

    Returns:
        Other methods to how ours compares with them; none where ours was not run.
    """
    others = [name for name in by_method if name != OURS]
    if OURS not in by_method or not others:
        return {}
    found = compare(by_method[OURS], [by_method[name] for name in others])
    return dict(zip(others, found, strict=True))


def _at(by_task: pd.DataFrame, names: Sequence[str], budget: float) -> dict[str, AtBudget]:
    rows = {name: by_task[(by_task["method"] == name) & (by_task["budget"] == budget)] for name in names}
    regrets: dict[str, Array] = {
        name: own.sort_values("task_id")["regret"].to_numpy(float) for name, own in rows.items()
    }
    against = against_ours(regrets)
    return {
        name: AtBudget(
            budget=budget,
            regret=bootstrap_mean(regrets[name]),
            range_regret=bootstrap_mean(own["range_regret"].to_numpy(float)),
            rank=float(own["rank"].mean()),
            test=_mean(own["test"]),
            test_tasks=int(own["test"].notna().sum()),
            test_regret=_mean(own["test_regret"]),
            own_s=float(own["own_s"].mean()),
            configs=float(own["configs"].mean()),
            against=against.get(name),
        )
        for name, own in rows.items()
    }


def _whole_mean(values: "pd.Series[float]") -> float:
    return float(values.mean(skipna=False))


def _mean(values: "pd.Series[float]") -> float | None:
    return float(values.mean()) if values.notna().any() else None
