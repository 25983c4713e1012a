"""How far a sweep is: outcomes by task, and when trials ended."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from orchestrator.app.report.html import Cell, Column, Content, Html, Row, facts, join, note, table
from orchestrator.app.report.pictures import (
    AMBER,
    BLUE,
    BROWN,
    GREEN,
    GREY,
    PINK,
    SKY,
    VERMILION,
    Figure,
    Picture,
    axis,
    label,
    layout,
    legend,
    numbers,
)
from orchestrator.app.report.sections import Section, details, frame, paragraph
from orchestrator.app.report.source import UNDER_WAY, Source
from orchestrator.app.report.wording import MISSING, count, seconds
from orchestrator.contracts import Outcome

COLOURS: Mapping[str, str] = {
    Outcome.COMPLETED: BLUE,
    Outcome.STOPPED: SKY,
    Outcome.TIMED_OUT: AMBER,
    Outcome.DIVERGED: VERMILION,
    Outcome.OUT_OF_MEMORY: PINK,
    Outcome.INVALID: BROWN,
    Outcome.FAILED: GREY,
    UNDER_WAY: GREEN,
}
_TIME = "%Y-%m-%dT%H:%M:%S"
_MOST_REASONS = 20
_INTERVALS = 48
"""Over which the rate of points is told."""
_MOST_STEPS = 600
"""Steps of the curve of arrivals; more can't be told apart on a screen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """When trials ended, and how fast points came with them."""

    at: tuple[str, ...]
    """UTC, ISO 8601, rising."""
    trials: tuple[int, ...]
    """That had ended by then."""
    interval_s: float
    """Of the rates."""
    middles: tuple[str, ...]
    """Of the intervals."""
    points_per_minute: tuple[float, ...]
    """Of the trials that ended in each."""


def outcome_counts(source: Source) -> pd.DataFrame:
    """Return how many trials of each task ended how: a row a task, a column an outcome that occurs."""
    order = [name for name in COLOURS if (source.trials["outcome"] == name).any()]
    counted = pd.crosstab(source.trials["task"], source.trials["outcome"])
    return counted.reindex(index=list(source.tasks.values()), columns=order, fill_value=0)


def arrivals(source: Source) -> Arrivals | None:
    """Return when trials ended; None where fewer than two times are on record."""
    if "finished_at" not in source.trials.columns:
        return None
    ended = source.finished.dropna(subset=["finished_at"])
    times = pd.to_datetime(ended["finished_at"], utc=True, format="ISO8601").sort_values()
    if times.nunique() < 2:
        return None
    points = ended.loc[times.index, "epochs"].to_numpy(float)
    kept = np.unique(np.linspace(0, len(times) - 1, min(_MOST_STEPS, len(times))).astype(int))
    first, last = times.iloc[0], times.iloc[-1]
    interval_s = max((last - first).total_seconds() / _INTERVALS, 1.0)
    since_s = (times - first).dt.total_seconds().to_numpy(float)
    came = np.bincount(np.minimum(since_s / interval_s, _INTERVALS - 1).astype(int), weights=points)
    middles = [first + pd.Timedelta(seconds=interval_s * (n + 0.5)) for n in range(len(came))]
    return Arrivals(
        at=tuple(times.iloc[kept].dt.strftime(_TIME)),
        trials=tuple(int(n) + 1 for n in kept),
        interval_s=interval_s,
        middles=tuple(middle.strftime(_TIME) for middle in middles),
        points_per_minute=tuple(float(n) for n in 60.0 * came / interval_s),
    )


def progress_section(source: Source) -> Section:
    """Return what has been run, how it ended, and when."""
    counts = outcome_counts(source)
    told = arrivals(source)
    pictures = []
    if counts.to_numpy().sum():
        pictures.append(_outcomes_picture(counts))
    if told is not None:
        pictures.append(_arrivals_picture(told))
    body = [_where_it_stands(source), _lost(source)]
    if pictures:
        body += [join(map(frame, pictures)), _outcome_table(counts, source)]
    else:
        body.append(note("No trial has a point yet: there is nothing to draw."))
    body.append(_failures(source))
    return Section(
        anchor="progress", title="Progress and outcomes", body=join(body), pictures=tuple(pictures)
    )


def _where_it_stands(source: Source) -> Html:
    finished, living = len(source.finished), int((source.trials["outcome"] == UNDER_WAY).sum())
    of = "" if source.planned is None else f" of {source.planned:,} planned"
    rows: list[tuple[str, Content]] = [("trials ended", f"{finished:,}{of}")]
    if source.spec is not None:
        at_work = source.driver or (
            "none" if finished >= (source.planned or 0) else "none: the sweep was left before its end"
        )
        rows = [("driver at work", at_work), *rows, ("with points, not ended", f"{living:,}")]
    rows += [
        ("curve points", f"{len(source.points):,}"),
        ("cost of all points", seconds(float(source.points["cost_s"].sum()))),
    ]
    return facts(rows)


def _lost(source: Source) -> Html:
    lost = int((source.attempts["event"] == "lost").sum()) if len(source.attempts) else 0
    if not lost:
        return Html("")
    return paragraph(
        f"{count(lost, 'attempt')} were lost with their worker, and run again; none is counted as a result."
    )


def _outcome_table(counts: pd.DataFrame, source: Source) -> Html:
    columns = [Column("task"), *(Column(str(name), is_number=True) for name in counts.columns)]
    columns += [
        Column("trials", is_number=True),
        Column("points", is_number=True),
        Column("cost", is_number=True),
    ]
    points = source.points.groupby("task_id").agg(points=("epoch", "size"), cost_s=("cost_s", "sum"))
    by_name = {source.tasks[str(key)]: row for key, row in points.iterrows()}
    rows: list[Row] = []
    for task, row in counts.iterrows():
        cost = by_name.get(str(task))
        cells: Row = [Cell(str(task)), *(Cell(f"{n:,}" if n else MISSING, float(n)) for n in row)]
        total, spent = (0, 0.0) if cost is None else (int(cost["points"]), float(cost["cost_s"]))
        cells += [
            Cell(f"{row.sum():,}", float(row.sum())),
            Cell(f"{total:,}", float(total)),
            Cell(seconds(spent), spent),
        ]
        rows.append(cells)
    return details(
        "The same as a table", table("Trials by task and outcome, and what they cost.", columns, rows)
    )


def _failures(source: Source) -> Html:
    """Return why trials did not complete, the same reason once."""
    if "error" not in source.trials.columns:
        return Html("")
    broken = source.finished.dropna(subset=["error"])
    if broken.empty:
        return Html("")
    last = broken["error"].map(lambda error: (str(error).strip().splitlines() or [""])[-1][:200])
    reasons = (
        broken.assign(reason=last)
        .groupby(["outcome", "reason"])
        .agg(n=("task", "size"), first=("trial_id", "first"))
        .reset_index()
        .sort_values("n", ascending=False)
    )
    rows: list[Row] = [
        [str(outcome), Cell(str(n), float(n)), str(reason), Cell(str(first)[:8], is_code=True)]
        for outcome, reason, n, first in reasons.head(_MOST_REASONS).itertuples(index=False)
    ]
    columns = [
        Column("outcome"),
        Column("trials", is_number=True),
        Column("last line of the error", is_long=True),
        Column("one of them"),
    ]
    return details(
        f"Why {count(len(broken), 'trial')} did not complete",
        table("Reasons, the most frequent first.", columns, rows),
    )


def _outcomes_picture(counts: pd.DataFrame) -> Picture:
    names = [label(str(task)) for task in counts.index][::-1]
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "name": str(outcome).replace("_", " "),
            "y": names,
            "x": [int(n) for n in counts[outcome]][::-1],
            "marker": {
                "color": COLOURS[str(outcome)],
                "pattern": {"shape": "/" if outcome == Outcome.FAILED else "", "fgcolor": "#ffffff"},
            },
            "hovertemplate": "%{y}: %{x} %{fullData.name}<extra></extra>",
        }
        for outcome in counts.columns
    ]
    figure: Figure = {
        "data": data,
        "layout": layout(
            barmode="stack",
            bargap=0.35,
            showlegend=True,
            legend=legend(traceorder="normal"),
            xaxis=axis("trials"),
            yaxis=axis(type="category"),
            margin={"l": 8, "r": 12, "t": 34, "b": 44},
        ),
    }
    said = ", ".join(f"{counts[name].sum():,} {name}".replace("_", " ") for name in counts.columns)
    return Picture(
        name="outcomes",
        title="How trials ended",
        figure=figure,
        alt=f"Stacked bars of trials by task and outcome: {said}.",
        caption="Trials by task and outcome. Diverged and out-of-memory trials are results too: they tell "
        "what does not work, and what finding that out costs.",
        height=110 + 26 * len(names),
    )


def _arrivals_picture(told: Arrivals) -> Picture:
    figure: Figure = {
        "data": [
            {
                "type": "bar",
                "name": "points a minute",
                "x": list(told.middles),
                "y": numbers(told.points_per_minute),
                "width": 1000.0 * told.interval_s * 0.9,
                "marker": {"color": SKY, "line": {"width": 0}},
                "opacity": 0.55,
                "yaxis": "y2",
                "hovertemplate": "%{x|%Y-%m-%d %H:%M} UTC: %{y:.1f} points a minute<extra></extra>",
            },
            {
                "type": "scatter",
                "mode": "lines",
                "name": "trials ended",
                "x": list(told.at),
                "y": numbers(told.trials),
                "line": {"color": BLUE, "width": 2.4, "shape": "hv"},
                "hovertemplate": "%{x|%Y-%m-%d %H:%M:%S} UTC: %{y:,} trials ended<extra></extra>",
            },
        ],
        "layout": layout(
            showlegend=True,
            legend=legend(),
            xaxis=axis(type="date", nticks=5, tickangle=0),
            yaxis=axis("trials ended", rangemode="tozero", nticks=6),
            yaxis2=axis(
                "points a minute",
                overlaying="y",
                side="right",
                rangemode="tozero",
                showgrid=False,
                tickmode="auto",
                nticks=5,
            ),
            margin={"l": 56, "r": 56, "t": 34, "b": 40},
        ),
    }
    return Picture(
        name="arrivals",
        title="When they came",
        figure=figure,
        alt=f"{told.trials[-1]:,} trials ended between {told.at[0]} and {told.at[-1]}.",
        caption="Line: trials ended so far, by the time (UTC) at which each ended. Bars: curve points a "
        f"minute, counted when their trial ended, over intervals of {seconds(told.interval_s)}. A gap is "
        "time in which no trial ended.",
        height=280,
    )
