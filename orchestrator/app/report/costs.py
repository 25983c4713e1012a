"""Cost against score: what can be had for how many seconds."""

import numpy as np
import pandas as pd

from orchestrator.app.report.html import Cell, Column, Html, Row, join, note, table
from orchestrator.app.report.pictures import (
    GREY,
    VERMILION,
    Figure,
    Picture,
    label,
    layout,
    log_axis,
    numbers,
    slug,
)
from orchestrator.app.report.sections import Section, details, grid, key, paragraph
from orchestrator.app.report.source import Source
from orchestrator.app.report.wording import CONFIG, brief, count, digits, seconds


def pareto_front(cost: np.ndarray, loss: np.ndarray) -> list[int]:
    """Return which points no other one beats in both.

    Args:
        cost: Lower is better, shape ``(n,)``.
        loss: Lower is better, shape ``(n,)``.

    Returns:
        Positions, by rising cost and falling loss; of equal points the first.
    """
    front: list[int] = []
    for at in np.lexsort((loss, cost)):
        if not front or loss[at] < loss[front[-1]]:
            front.append(int(at))
    return front


def task_front(points: pd.DataFrame) -> pd.DataFrame:
    """Return a task's points that no other one beats in seconds and in loss, by rising seconds."""
    return points.iloc[pareto_front(points["spent_s"].to_numpy(float), points["loss"].to_numpy(float))]


def trial_ends(points: pd.DataFrame) -> pd.DataFrame:
    """Return the best point of each trial, with the seconds until then."""
    return points.loc[points.groupby("trial_id", sort=False)["loss"].idxmin()]


def costs_section(source: Source) -> Section:
    """Return cost against score, a picture a task."""
    anchor, title = "cost", "Cost against score"
    failed = source.trials.loc[source.trials["is_failure"].astype(bool), "trial_id"]
    worked = source.points[~source.points["trial_id"].isin(failed)]
    by_task = {task_id: worked[worked["task_id"] == task_id] for task_id in source.tasks}
    by_task = {task_id: points for task_id, points in by_task.items() if len(points)}
    if not by_task:
        return Section(anchor=anchor, title=title, body=note("No trial that works has a point yet."))
    pictures = tuple(_picture(source, task_id, points) for task_id, points in by_task.items())
    better = "lower" if source.direction == "minimise" else "higher"
    intro = paragraph(
        f"Seconds of training and evaluation until a trial's best {source.metric} ({better} is better), a "
        "dot a trial. The line is the Pareto front over all epochs of all trials: nothing on record is "
        "both cheaper and better. Where it goes flat, more seconds buy little."
    )
    legend = key([(GREY, "dot", "a trial at its best epoch"), (VERMILION, "solid", "the Pareto front")])
    body = join([intro, legend, grid(pictures), _table(source, by_task)])
    return Section(anchor=anchor, title=title, body=body, pictures=pictures)


def _picture(source: Source, task_id: str, points: pd.DataFrame) -> Picture:
    task = source.tasks[task_id]
    ends, front = trial_ends(points), task_front(points)
    hover = "trial %{text}<br>%{x:.1f} s: " + label(source.metric) + " %{y:.4g}<extra></extra>"
    figure: Figure = {
        "data": [
            {
                "type": "scatter",
                "mode": "markers",
                "x": numbers(ends["spent_s"]),
                "y": numbers(ends["value"]),
                "text": _trial_texts(ends),
                "marker": {"color": GREY, "size": 5, "opacity": 0.6},
                "hovertemplate": hover,
            },
            {
                "type": "scatter",
                "mode": "lines+markers",
                "x": numbers(front["spent_s"]),
                "y": numbers(front["value"]),
                "text": _trial_texts(front),
                "line": {"color": VERMILION, "width": 2, "shape": "hv"},
                "marker": {"size": 6},
                "hovertemplate": hover,
            },
        ],
        "layout": layout(
            xaxis=log_axis("seconds", np.concatenate([ends["spent_s"], front["spent_s"]])),
            yaxis=log_axis(source.metric, points["value"].to_numpy(float)),
            margin={"l": 52, "r": 8, "t": 6, "b": 40},
        ),
    }
    first, last = front.iloc[0], front.iloc[-1]
    caption = (
        f"{count(len(front), 'point')} on the front: {digits(first['value'])} after "
        f"{seconds(first['spent_s'])}, {digits(last['value'])} after {seconds(last['spent_s'])}."
    )
    return Picture(
        name=f"cost-{list(source.tasks).index(task_id) + 1}-{slug(task)}",
        title=task,
        figure=figure,
        alt=f"Seconds against {source.metric} on {task}: {caption}",
        caption=caption,
        height=250,
    )


def _trial_texts(points: pd.DataFrame) -> list[str]:
    return [
        f"{trial_id[:8]}, epoch {epoch}"
        for trial_id, epoch in zip(points["trial_id"], points["epoch"], strict=True)
    ]


def _table(source: Source, by_task: dict[str, pd.DataFrame]) -> Html:
    default, constant = source.space.default(), source.constant
    rows: list[Row] = []
    for task_id, points in by_task.items():
        for _, point in task_front(points).iterrows():
            config = source.configs.get(str(point["config_id"]))
            rows.append(
                [
                    source.tasks[task_id],
                    Cell(seconds(point["spent_s"]), float(point["spent_s"])),
                    Cell(digits(point["value"]), float(point["value"])),
                    Cell(str(point["epoch"]), float(point["epoch"])),
                    "not ended yet" if config is None else brief(config, default, constant),
                    Cell(str(point["trial_id"])[:8], is_code=True),
                ]
            )
    columns = [Column("task"), Column("seconds", is_number=True), Column(source.metric, is_number=True)]
    columns += [
        Column("epoch", is_number=True),
        Column(CONFIG, is_long=True),
        Column("trial"),
    ]
    caption = "The Pareto front of every task, by rising cost."
    return details("The fronts as a table", table(caption, columns, rows))
