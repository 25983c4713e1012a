"""Learning curves by task: the best, the default, and the rest behind them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from orchestrator.app.report.html import Cell, Column, Html, Row, join, note, table
from orchestrator.app.report.pictures import (
    BLUE,
    GREEN,
    GREY,
    PINK,
    VERMILION,
    Figure,
    Picture,
    axis,
    label,
    layout,
    log_axis,
    numbers,
    slug,
)
from orchestrator.app.report.sections import Section, grid, key, paragraph
from orchestrator.app.report.source import UNDER_WAY, Source
from orchestrator.app.report.wording import CONFIG, brief, count, digits
from orchestrator.contracts import config_id

BEST, DEFAULT, FAILED, REST = "best", "default", "failed", "rest"
"""What a curve is shown as; one under way as ``source.UNDER_WAY``."""
_LOOKS = {
    REST: ({"color": GREY, "width": 0.8}, 0.45),
    UNDER_WAY: ({"color": GREEN, "width": 1.4}, 0.9),
    FAILED: ({"color": PINK, "width": 1.2, "dash": "dot"}, 0.9),
    DEFAULT: ({"color": BLUE, "width": 2.2, "dash": "dash"}, 1.0),
    BEST: ({"color": VERMILION, "width": 2.8}, 1.0),
}
"""Lines, the ones behind first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BestOfTask:
    """The best point of a task, among trials that did not fail."""

    task: str
    trial_id: str
    config_id: str
    epoch: int
    value: float
    median: float
    """Of the best that each trial reached."""
    reports: dict[str, float]


def best_of_tasks(source: Source) -> list[BestOfTask]:
    """Return the best point of every task that has one, in the order of the tasks."""
    failed = source.trials.loc[source.trials["is_failure"], "trial_id"]
    worked = source.points[~source.points["trial_id"].isin(failed)]
    found = []
    for task_id, task in source.tasks.items():
        rows = worked[worked["task_id"] == task_id]
        if rows.empty:
            continue
        best = rows.iloc[int(np.argmin(rows["loss"].to_numpy(float)))]
        median = float(rows.groupby("trial_id")["loss"].min().median())
        found.append(
            BestOfTask(
                task=task,
                trial_id=str(best["trial_id"]),
                config_id=str(best["config_id"]),
                epoch=int(best["epoch"]),
                value=float(best["value"]),
                median=float(source.losses(np.array(median))),
                reports={name: float(best[name]) for name in source.reports},
            )
        )
    return found


def curve_kinds(source: Source, task_id: str, best: BestOfTask | None) -> "pd.Series[str]":
    """Return what each trial's curve on a task is shown as, by trial id."""
    trials = source.trials[source.trials["task_id"] == task_id].set_index("trial_id")
    kinds = pd.Series(REST, index=trials.index, dtype=object)
    kinds[trials["outcome"] == UNDER_WAY] = UNDER_WAY
    kinds[trials["config_id"] == config_id(source.space.default())] = DEFAULT
    kinds[trials["is_failure"]] = FAILED
    if best is not None:
        kinds[best.trial_id] = BEST
    return kinds


def with_gaps(points: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return curves as one line: a row of nothing after each trial, so that the pen is lifted."""
    if points.empty:
        return points[["trial_id", *columns]]
    gaps = points[["trial_id"]].drop_duplicates().assign(**dict.fromkeys(columns, np.nan), _last=1)
    whole = pd.concat([points[["trial_id", *columns]].assign(_last=0), gaps], ignore_index=True)
    order = ["trial_id", "_last", columns[0]]
    return whole.sort_values(order, kind="stable", ignore_index=True).drop(columns="_last")


def curves_section(source: Source) -> Section:
    """Return the learning curves of every task, and its best trial."""
    best = {item.task: item for item in best_of_tasks(source)}
    drawn = source.points["task_id"].unique()
    pictures = tuple(
        _picture(source, task_id, best.get(task))
        for task_id, task in source.tasks.items()
        if task_id in drawn
    )
    if not pictures:
        return Section(anchor="curves", title="Learning curves", body=note("There is no curve point yet."))
    legend = key(
        [
            (VERMILION, "solid", "the best on record"),
            (BLUE, "dashed", "the space's default config"),
            (GREY, "solid", "other trials"),
            (PINK, "dotted", "diverged or failed, × where it ended"),
            (GREEN, "solid", "under way"),
        ]
    )
    intro = paragraph(
        f"{source.metric} ({source.meaning}) after every epoch, a picture a task, a line a trial. Point at "
        "a line for its trial; drag to look closer, double-click to come back."
    )
    return Section(
        anchor="curves",
        title="Learning curves",
        body=join([intro, legend, grid(pictures), _best_table(source, list(best.values()))]),
        pictures=pictures,
    )


def _best_table(source: Source, best: Sequence[BestOfTask]) -> Html:
    columns = [Column("task"), Column(source.metric, is_number=True), Column("median trial", is_number=True)]
    columns += [Column(name, is_number=True) for name in source.reports]
    columns += [
        Column("epoch", is_number=True),
        Column(CONFIG, is_long=True),
        Column("trial"),
    ]
    default, constant = source.space.default(), source.constant
    rows: list[Row] = []
    for item in best:
        config = source.configs.get(item.config_id)
        rows.append(
            [
                item.task,
                Cell(digits(item.value), item.value),
                Cell(digits(item.median), item.median),
                *(Cell(digits(item.reports[name]), item.reports[name]) for name in source.reports),
                Cell(str(item.epoch), float(item.epoch)),
                "not ended yet" if config is None else brief(config, default, constant),
                Cell(item.trial_id[:8], is_code=True),
            ]
        )
    return table(
        f"The best point of every task by {source.metric}; test metrics are those of the same point. "
        "“Median trial” is the median over trials of the best that each reached.",
        columns,
        rows,
    )


def _picture(source: Source, task_id: str, best: BestOfTask | None) -> Picture:
    task = source.tasks[task_id]
    points = source.points[source.points["task_id"] == task_id]
    kinds = curve_kinds(source, task_id, best)
    of_points = points["trial_id"].map(kinds)
    data = []
    for kind, (line, opacity) in _LOOKS.items():
        rows = with_gaps(points[of_points == kind], ["epoch", "value"])
        if len(rows):
            data.append(_lines(rows, line, opacity, source.metric, lonely=kind in (BEST, DEFAULT)))
    ends = points[of_points == FAILED].drop_duplicates("trial_id", keep="last")
    if len(ends):
        data.append(_crosses(ends, source))
    figure: Figure = {
        "data": data,
        "layout": layout(
            xaxis=axis("epoch", tickformat="d", rangemode="normal"),
            yaxis=log_axis(source.metric, points["value"].to_numpy(float)),
            margin={"l": 52, "r": 8, "t": 6, "b": 40},
        ),
    }
    failed = int((kinds == FAILED).sum())
    silent = failed - len(ends)
    ended = f", {failed} failed" if failed else ""
    told = "no trial worked" if best is None else f"best {digits(best.value)} at epoch {best.epoch}"
    caption = f"{count(len(kinds), 'trial')}{ended}; {told}."
    if silent:
        caption += f" {silent} of the failed left no point."
    return Picture(
        name=f"curves-{list(source.tasks).index(task_id) + 1}-{slug(task)}",
        title=task,
        figure=figure,
        alt=f"Learning curves of {source.metric} on {task}: {caption}",
        caption=caption,
        height=260,
    )


def _lines(
    rows: pd.DataFrame, line: dict[str, object], opacity: float, metric: str, *, lonely: bool
) -> dict[str, object]:
    return {
        "type": "scatter",
        "mode": "lines+markers" if lonely else "lines",
        "x": numbers(rows["epoch"]),
        "y": numbers(rows["value"]),
        "text": [trial_id[:8] for trial_id in rows["trial_id"]],
        "line": line,
        "marker": {"size": 5},
        "opacity": opacity,
        "connectgaps": False,
        "hovertemplate": "trial %{text}<br>epoch %{x}: " + label(metric) + " %{y:.4g}<extra></extra>",
    }


def _crosses(ends: pd.DataFrame, source: Source) -> dict[str, object]:
    outcomes = source.trials.set_index("trial_id")["outcome"]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": numbers(ends["epoch"]),
        "y": numbers(ends["value"]),
        "text": [f"{trial_id[:8]} {outcomes[trial_id]}" for trial_id in ends["trial_id"]],
        "marker": {"symbol": "x-thin-open", "size": 9, "color": PINK, "line": {"width": 2, "color": PINK}},
        "hovertemplate": "trial %{text}<br>after epoch %{x}: %{y:.4g}<extra></extra>",
    }
