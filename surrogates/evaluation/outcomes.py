"""What a method found where no record tells what there was to find: the incumbent on the test split.

| symbol | meaning |
|---|---|
| test | a test metric at the point that is best on validation, as it is measured |
| relative | the incumbent's test loss over the untrained base model's: 1 is no better than that |
| rank | among all methods of a task, seed and budget by the test loss; 1 is best, ties share their mean |
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from surrogates.data.normalisation import Array
from surrogates.evaluation.reading import budget_ends, over_time
from surrogates.evaluation.statistics import Interval, Paired, bootstrap_mean
from surrogates.evaluation.summary import against_ours, task_means

TEST_LOSS = "test_loss"
"""Decides between methods; minimised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeAtBudget:
    """One method at the end of one budget; means over tasks of means over seeds."""

    budget: float
    """A multiple of each task's unit."""
    relative: Interval
    tests: Mapping[str, float]
    """Test metrics of the validation incumbent, as they are measured."""
    rank: float
    """1 would be the best of all methods on every task."""
    own_s: float
    """The method's own seconds until its incumbent."""
    configs: float
    """Configs that got any epoch."""
    against: Paired | None
    """Ours against this method, by ``relative``; None for ours, and where ours was not run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeSummary:
    """One method."""

    name: str
    at: tuple[OutcomeAtBudget, ...]
    """In the order of the budgets."""


def measure_outcomes(
    trajectories: pd.DataFrame,
    units_s: Mapping[str, float],
    untrained: Mapping[str, float],
    budgets: Sequence[float],
    *,
    reports: Sequence[str],
    own_time: bool,
) -> pd.DataFrame:
    """Read live runs at the end of each budget.

    Args:
        trajectories: Rows of ``loop.run_budgets``, of any number of methods.
        units_s: Task id to the seconds that budgets are multiples of.
        untrained: Task id to the base model's test loss.
        budgets: Those that were run.
        reports: Columns of the trajectories that are told, ``test_loss`` among them.
        own_time: Whether the method's own seconds count.

    Returns:
        One row a method, task, seed and budget: loss (validation), the reports, relative, own_s, configs
        (that got any epoch), rank.
    """
    measured = []
    for end in budget_ends(trajectories, units_s, budgets, own_time=own_time):
        told = {name: float(end.row[name]) for name in reports}
        measured.append(
            {
                "method": end.method,
                "task_id": end.task_id,
                "seed": end.seed,
                "budget": end.budget,
                "loss": end.loss,
                **told,
                "relative": told[TEST_LOSS] / untrained[end.task_id],
                "own_s": end.own_s,
                "configs": end.configs,
            }
        )
    frame = pd.DataFrame(measured)
    ranks = frame.groupby(["task_id", "seed", "budget"])[TEST_LOSS].rank(method="average")
    return frame.assign(rank=ranks)


def summarise_outcomes(measured: pd.DataFrame, reports: Sequence[str]) -> tuple[OutcomeSummary, ...]:
    """Sum up what was measured.

    Args:
        measured: Rows of ``measure_outcomes``; every method on the same tasks, seeds and budgets.
        reports: Which of its columns are test metrics.

    Returns:
        The methods, those with the lowest relative test loss over all budgets first.
    """
    by_task = task_means(measured, ("relative", "rank", "own_s", "configs", *reports))
    ordered = by_task.groupby("method")["relative"].mean().sort_values(kind="stable")
    names = [str(name) for name in ordered.index]
    budgets = sorted(float(budget) for budget in by_task["budget"].unique())
    at = {(name, budget): row for budget in budgets for name, row in _at(by_task, names, budget, reports)}
    return tuple(
        OutcomeSummary(name=name, at=tuple(at[name, budget] for budget in budgets)) for name in names
    )


def losses_over_time(
    trajectories: pd.DataFrame, units_s: Mapping[str, float], budget: float, grid: Array, *, own_time: bool
) -> pd.DataFrame:
    """Return how the incumbent's test loss fell; arguments and rows as ``reading.over_time`` has them."""

    def losses(_task_id: str, run: pd.DataFrame) -> Array:
        return np.asarray(run[TEST_LOSS], dtype=float)

    return over_time(trajectories, units_s, budget, grid, losses, own_time=own_time)


def _at(
    by_task: pd.DataFrame, names: Sequence[str], budget: float, reports: Sequence[str]
) -> list[tuple[str, OutcomeAtBudget]]:
    rows = {
        name: by_task[(by_task["method"] == name) & (by_task["budget"] == budget)].sort_values("task_id")
        for name in names
    }
    relative = {name: own["relative"].to_numpy(float) for name, own in rows.items()}
    against = against_ours(relative)
    return [
        (
            name,
            OutcomeAtBudget(
                budget=budget,
                relative=bootstrap_mean(relative[name]),
                tests={report: float(own[report].mean()) for report in reports},
                rank=float(own["rank"].mean()),
                own_s=float(own["own_s"].mean()),
                configs=float(own["configs"].mean()),
                against=against.get(name),
            ),
        )
        for name, own in rows.items()
    ]
