"""Configs as lines through their hyperparameters, coloured by how well they did."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from orchestrator.app.report.html import Cell, Column, Html, Row, join, note, table
from orchestrator.app.report.pictures import FONT, INK, QUIET_TO_LOUD, Figure, Picture, label, layout, numbers
from orchestrator.app.report.sections import Section, frame, paragraph
from orchestrator.app.report.source import Source
from orchestrator.app.report.standings import config_standings, standings
from orchestrator.app.report.wording import CONFIG, MISSING, brief, value
from orchestrator.contracts import Config, Scalar
from surrogates.data.normalisation import Array
from surrogates.data.space import Parameter, is_number, matching_choice

_MOST_AXES = 10
"""Hyperparameters beside task and standing; more can't be read."""
_MOST_TICKS = 12
_SHOWN = 12
"""Configs in the table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """One axis: where values lie, and which ticks are named."""

    name: str
    values: Array
    """One a line."""
    ticks: tuple[tuple[float, str], ...]
    low: float
    high: float


def scale_of(parameter: Parameter, configs: Sequence[Config]) -> Scale:
    """Place configs on the axis of one hyperparameter; inactive ones lie below all others.

    Args:
        parameter: Declares the values.
        configs: One a line.

    Returns:
        The scale: of choices by their position, of ranges by their number, logarithmic if declared so.
    """
    settings: list[Scalar] = [config.get(parameter.name) for config in configs]
    active = np.array([parameter.name in config for config in configs])
    if parameter.choices:
        places = [matching_choice(setting, parameter.choices) for setting in settings]
        known = np.array([np.nan if place is None else float(place) for place in places])
        ticks = [(float(place), value(choice)) for place, choice in enumerate(parameter.choices)]
        low, high = 0.0, float(len(parameter.choices) - 1)
    else:
        raw = np.array([float(setting) if is_number(setting) else np.nan for setting in settings])
        known = _stretched(raw, parameter)
        low, high = (float(x) for x in _stretched(np.array([parameter.low, parameter.high]), parameter))
        ticks = _range_ticks(parameter, low, high)
    below = low - 0.12 * max(high - low, 1.0)
    values = np.where(active & ~np.isnan(known), known, below)
    if (values == below).any():
        ticks, low = [(below, MISSING), *ticks], below
    return Scale(
        name=parameter.name,
        values=values,
        ticks=tuple(ticks[:_MOST_TICKS]),
        low=low,
        high=max(high, low + 1e-9),
    )


def configs_section(source: Source, ranked: Sequence[str]) -> Section:
    """Return every ended trial as a line through its hyperparameters, and the configs that did best.

    Args:
        source: What was read.
        ranked: Hyperparameters, the most important first; empty where that is not known.

    Returns:
        The section.
    """
    stood = standings(source)
    title = "Configs"
    if stood.empty or len(stood["config_id"].unique()) < 2:
        return Section(
            anchor="configs",
            title=title,
            body=note("Configs are compared when two or more of them have ended."),
        )
    picture, left_out = _picture(source, stood, ranked)
    intro = paragraph(
        "A line is a trial that has ended: through its task, its hyperparameters, and on the right how it "
        "stood on its task (100 % is the best of the task's trials, 0 % the worst; failures are lowest). "
        + ("The more a hyperparameter decides, the further right it is. " if ranked else "")
        + "Drag along an axis to keep only lines that pass there; click it to let go; drag a name to move "
        "its axis."
    )
    body = [intro, frame(picture)]
    if left_out:
        body.append(paragraph(f"Not drawn, since they decide least or are too many: {', '.join(left_out)}."))
    body.append(_table(source, stood))
    return Section(anchor="configs", title=title, body=join(body), pictures=(picture,))


def _picture(source: Source, stood: pd.DataFrame, ranked: Sequence[str]) -> tuple[Picture, list[str]]:
    varying = [p for p in source.space.parameters if p.name not in source.constant and len(p.choices) != 1]
    used = {name for config in source.configs.values() for name in config}
    varying = [parameter for parameter in varying if parameter.name in used]
    place = {name: at for at, name in enumerate(ranked)}
    varying.sort(key=lambda parameter: place.get(parameter.name, len(place)))
    shown, left_out = varying[:_MOST_AXES], [parameter.name for parameter in varying[_MOST_AXES:]]
    if ranked:
        shown.reverse()
    # The best lines are drawn last, on top of the others.
    lines = stood.sort_values("standing", kind="stable")
    configs = [source.configs[key] for key in lines["config_id"]]
    names = [task for task in source.tasks.values() if task in set(lines["task"])]
    at = {task: float(len(names) - 1 - n) for n, task in enumerate(names)}
    task_axis = Scale(
        name="task",
        values=np.array([at[task] for task in lines["task"]]),
        ticks=tuple((at[task], task) for task in names) if len(names) <= 2 * _MOST_TICKS else (),
        low=-0.5,
        high=len(names) - 0.5,
    )
    standing = Scale(
        name="standing, %",
        values=lines["standing"].to_numpy(float),
        ticks=tuple((float(tick), str(tick)) for tick in (0, 25, 50, 75, 100)),
        low=0.0,
        high=100.0,
    )
    scales = [
        *([task_axis] if len(names) > 1 else []),
        *(scale_of(parameter, configs) for parameter in shown),
        standing,
    ]
    names_of_axes = [scale.name for scale in scales]
    lacking = any(text == MISSING for scale in scales for _, text in scale.ticks)
    absent = f" {MISSING} is a hyperparameter that the config does not have." if lacking else ""
    figure: Figure = {
        "data": [
            {
                "type": "parcoords",
                "dimensions": [_dimension(scale) for scale in scales],
                "line": {
                    "color": numbers(lines["standing"]),
                    "colorscale": QUIET_TO_LOUD,
                    "cmin": 0,
                    "cmax": 100,
                },
                "labelfont": {"family": FONT, "size": 11, "color": INK},
                "tickfont": {"family": FONT, "size": 10, "color": INK},
                "rangefont": {"size": 1, "color": "rgba(0,0,0,0)"},
                "labelangle": -18,
                "labelside": "top",
                "unselected": {"line": {"color": "#8a919c", "opacity": 0.06}},
            }
        ],
        "layout": layout(margin={"l": 84, "r": 44, "t": 84, "b": 16}),
    }
    picture = Picture(
        name="configs",
        figure=figure,
        alt=f"Parallel coordinates of {len(lines):,} trials over {', '.join(names_of_axes)}.",
        caption=f"{len(lines):,} trials. Grey lines did badly on their task, dark orange ones best.{absent}",
        height=440,
        min_width=78 * len(scales),
        needs_webgl=True,
    )
    return picture, left_out


def _dimension(scale: Scale) -> dict[str, object]:
    return {
        "label": label(scale.name),
        "values": numbers(scale.values),
        "range": [scale.low, scale.high],
        "tickvals": [at for at, _ in scale.ticks],
        "ticktext": [_short(text) for _, text in scale.ticks],
    }


def _table(source: Source, stood: pd.DataFrame) -> Html:
    ordered = config_standings(stood)
    most = int(ordered["tasks"].max())
    default, constant = source.space.default(), source.constant
    rows: list[Row] = [
        [
            Cell(str(n), float(n)),
            brief(source.configs[row["config_id"]], default, constant),
            Cell(f"{row['mean']:.0f} %", float(row["mean"])),
            Cell(f"{row['worst']:.0f} %", float(row["worst"])),
            Cell(str(row["tasks"]), float(row["tasks"])),
            Cell(str(row["failures"]), float(row["failures"])),
            Cell(str(row["config_id"])[:8], is_code=True),
        ]
        for n, (_, row) in enumerate(ordered.head(_SHOWN).iterrows(), start=1)
    ]
    columns = [
        Column("#", is_number=True),
        Column(CONFIG, is_long=True),
        Column("mean standing", is_number=True),
        Column("worst", is_number=True),
        Column("tasks", is_number=True),
        Column("failures", is_number=True),
        Column("config id"),
    ]
    caption = (
        f"The {min(_SHOWN, len(ordered))} configs that did best on average, of {len(ordered)}; those that "
        f"ran on most tasks (up to {most}) first. 100 % would be the best of all on every task."
    )
    return table(caption, columns, rows)


def _stretched(raw: Array, parameter: Parameter) -> Array:
    if not parameter.is_log:
        return raw
    return np.log10(np.where(raw > 0, raw, np.nan))


def _range_ticks(parameter: Parameter, low: float, high: float) -> list[tuple[float, str]]:
    """Return ticks of a range: powers of ten of a logarithmic one, and its ends."""
    if not parameter.is_log:
        return [(float(at), value(round(float(at), 6))) for at in np.linspace(low, high, 5)]
    inner = [float(power) for power in range(math.ceil(low), math.floor(high) + 1)]
    ends = [end for end in (low, high) if all(abs(end - power) > 0.15 for power in inner)]
    return [(at, f"{10**at:.2g}") for at in sorted([*inner, *ends])]


def _short(text: str) -> str:
    return text if len(text) <= 12 else text[:11] + "…"
