"""Pictures of a comparison."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from surrogates.data.normalisation import Array
from surrogates.evaluation.ours import OURS
from surrogates.evaluation.outcomes import OutcomeSummary, losses_over_time
from surrogates.evaluation.regret import TaskRulers, regret_over_time
from surrogates.evaluation.summary import MethodSummary

_GRID = 200
_COLOURS = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c6d31", "#7f7f7f",
)  # fmt: skip
_DASHES = ("-", "--", ":")
"""Eight colours, told apart by the colour-blind too, in three dashes: 24 methods."""


def draw_regret(
    trajectories: pd.DataFrame,
    measured_by: Mapping[str, TaskRulers],
    budgets: Sequence[float],
    *,
    own_time: bool,
) -> Figure:
    """Draw mean regret over time, a panel a budget that was planned for.

    Args:
        trajectories: Rows of ``replay``.
        measured_by: Task id to its rulers.
        budgets: Multiples of a task's median cost of a full run.
        own_time: Whether the methods' own seconds count.

    Returns:
        The figure.
    """

    def lines(budget: float, grid: Array) -> pd.DataFrame:
        found = regret_over_time(trajectories, measured_by, budget, grid, own_time=own_time)
        return found.rename(columns={"regret": "value"})

    figure = _draw_lines(lines, budgets, "regret (0 best, 1 median config)")
    for panel in figure.axes:
        panel.set_yscale("symlog", linthresh=0.1)
        panel.set_ylim(0.0, 11.0)
    return figure


def draw_test_loss(
    trajectories: pd.DataFrame, units_s: Mapping[str, float], budgets: Sequence[float], *, own_time: bool
) -> Figure:
    """Draw the incumbent's mean test loss over time, a panel a budget that was planned for.

    Args:
        trajectories: Rows of ``run_budgets``.
        units_s: Task id to the seconds that budgets are multiples of.
        budgets: Those multiples.
        own_time: Whether the methods' own seconds count.

    Returns:
        The figure.
    """

    def lines(budget: float, grid: Array) -> pd.DataFrame:
        return losses_over_time(trajectories, units_s, budget, grid, own_time=own_time)

    figure = _draw_lines(lines, budgets, "test loss, nats per answer token")
    for panel in figure.axes:
        panel.set_yscale("log")
    return figure


def _draw_lines(
    lines: Callable[[float, Array], pd.DataFrame], budgets: Sequence[float], label: str
) -> Figure:
    """Draw a line a method over time, a panel a budget."""
    figure = Figure(figsize=(4.2 * len(budgets) + 2.0, 4.2), layout="constrained")
    panels = figure.subplots(1, len(budgets), sharey=True, squeeze=False)[0]
    for panel, budget in zip(panels, budgets, strict=True):
        found = lines(budget, np.linspace(0.0, budget, _GRID + 1)[1:])
        names = [str(name) for name in found["method"].unique()]
        looks = _looks(names)
        for name in names:
            line = found[found["method"] == name]
            panel.step(line["time"], line["value"], where="post", label=name, **looks[name])
        panel.set_title(f"budget {budget:g}x")
        panel.set_xlabel("time, in median full runs")
        panel.grid(alpha=0.3)
    panels[0].set_ylabel(label)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize="small")
    return figure


def draw_ranks(methods: Sequence[MethodSummary] | Sequence[OutcomeSummary]) -> Figure:
    """Draw the average rank of each method, a row a method and a mark a budget.

    Args:
        methods: Summed up; the first is drawn on top.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(7.0, 0.32 * len(methods) + 1.4), layout="constrained")
    panel = figure.subplots()
    rows = np.arange(len(methods))[::-1]
    for place, mark in zip(range(len(methods[0].at)), "o^sDvPX*", strict=False):
        ranks = [method.at[place].rank for method in methods]
        panel.plot(ranks, rows, mark, color=_COLOURS[place], label=f"{methods[0].at[place].budget:g}x")
    panel.set_yticks(rows, [method.name for method in methods])
    panel.set_xlabel("average rank (1 is best)")
    panel.grid(alpha=0.3)
    panel.legend(title="budget", fontsize="small")
    return figure


def _looks(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    others = [name for name in names if name != OURS]
    looks: dict[str, dict[str, Any]] = {
        name: {
            "color": _COLOURS[place % len(_COLOURS)],
            "linestyle": _DASHES[place // len(_COLOURS) % len(_DASHES)],
            "linewidth": 1.2,
        }
        for place, name in enumerate(others)
    }
    return {**looks, OURS: {"color": "black", "linewidth": 2.4, "zorder": 5}}
