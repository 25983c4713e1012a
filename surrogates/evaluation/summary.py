"""A comparison in numbers: each method at each budget, with intervals, ranks and tests against ours."""

from collections.abc import Sequence
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
    by_task = measured.groupby(["method", "budget", "task_id"], as_index=False).agg(
        regret=("regret", "mean"),
        range_regret=("range_regret", "mean"),
        rank=("rank", "mean"),
        test=("test", lambda values: values.mean(skipna=False)),
        test_regret=("test_regret", lambda values: values.mean(skipna=False)),
        own_s=("own_s", "mean"),
        configs=("configs", "mean"),
    )
    ordered = by_task.groupby("method")["regret"].mean().sort_values(kind="stable")
    names = [str(name) for name in ordered.index]
    budgets = sorted(float(budget) for budget in by_task["budget"].unique())
    at = {(name, budget): row for budget in budgets for name, row in _at(by_task, names, budget).items()}
    return tuple(MethodSummary(name=name, at=tuple(at[name, budget] for budget in budgets)) for name in names)


def _at(by_task: pd.DataFrame, names: Sequence[str], budget: float) -> dict[str, AtBudget]:
    rows = {name: by_task[(by_task["method"] == name) & (by_task["budget"] == budget)] for name in names}
    regrets: dict[str, Array] = {
        name: own.sort_values("task_id")["regret"].to_numpy(float) for name, own in rows.items()
    }
    others = [name for name in names if name != OURS] if OURS in regrets else []
    against = (
        dict(zip(others, compare(regrets[OURS], [regrets[name] for name in others]), strict=True))
        if others
        else {}
    )
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


def _mean(values: "pd.Series[float]") -> float | None:
    return float(values.mean()) if values.notna().any() else None
