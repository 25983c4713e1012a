"""Which hyperparameters and meta-features decide, and which values are good."""

from collections.abc import Sequence

from orchestrator.app.report.html import Cell, Column, Html, Row, join, note, table
from orchestrator.app.report.pictures import (
    AMBER,
    BLUE,
    GREEN,
    GREY,
    Figure,
    Picture,
    axis,
    label,
    layout,
    legend,
)
from orchestrator.app.report.sections import Section, details, frame, grid, paragraph
from orchestrator.app.report.source import Source
from orchestrator.app.report.wording import count
from orchestrator.contracts import NothingLearnedError
from surrogates.effects import Effect
from surrogates.importance import TASKS, Importance, InputImportance, importance

_MOST = 16
"""Inputs in one picture."""
_EFFECTS = 6
"""Hyperparameters whose values are told."""


def told_importance(source: Source) -> Importance | str:
    """Return the importances, or why there are none."""
    if source.meta is None:
        return "Importances are told when trials have ended."
    try:
        return importance(source.meta)
    except NothingLearnedError as err:
        return f"No importances: {err}."


def importance_section(told: Importance | str) -> Section:
    """Return what decides, with how far the model behind it is to be trusted."""
    anchor, title = "importance", "What decides"
    if isinstance(told, str):
        return Section(anchor=anchor, title=title, body=note(told))
    pictures = [_picture("hyperparameters", "Hyperparameters", told.hyperparameters, (BLUE, "#8bbbd9"), told)]
    effects = [_effect_picture(effect) for effect in told.effects[:_EFFECTS] if len(effect.values) > 1]
    body = [_intro(), _trust(told), frame(pictures[0])]
    if effects and told.is_trusted:
        pictures += effects
        body += [
            paragraph(
                "What the values of the most important ones do, averaged over tasks and over all else: "
                "above 0 is better than usual, in standard deviations of the score."
            ),
            grid(effects),
        ]
    if told.meta_features:
        features = _picture("meta-features", "Meta-features", told.meta_features, (GREEN, "#86cdb7"), told)
        pictures.append(features)
        body += [_features_trust(told), frame(features)]
    body.append(_table(told))
    return Section(anchor=anchor, title=title, body=join(body), pictures=tuple(pictures))


def _intro() -> Html:
    return paragraph(
        "Boosted trees learned how every config stood on every task (normal scores of the rank, so that "
        "all tasks count alike); TreeSHAP then says by how much each input moved their predictions. The "
        "dark part holds on every task alike, the light part differs between tasks."
    )


def _trust(told: Importance) -> Html:
    what = f"{count(told.rows, 'pair')} of {count(told.tasks, 'task')} and {count(told.configs, 'config')}"
    basis = (
        f"Learned from {what}; R² on {told.left_out} left out: {told.r2:.2f} (1 is perfect, 0 no better "
        "than a guess)."
    )
    if told.is_trusted:
        return paragraph(basis)
    return note(
        f"Don't read this yet. {basis} A model that can't predict has no say in what decides: the bars "
        "below are of what it made of chance. More configs help."
    )


def _features_trust(told: Importance) -> Html:
    without = told.r2_without_meta_features
    gain = f"R² on {told.left_out} left out is {told.r2:.2f} with meta-features and {without:.2f} without"
    if told.left_out != TASKS:
        return Html("")
    if told.features_help:
        return paragraph(
            f"{gain}: they help with tasks not seen. Which of them does is less sure, with "
            f"{count(told.tasks, 'task')} to tell {len(told.meta_features)} apart."
        )
    return note(
        f"{gain}: they help little or not at all with tasks not seen. What is shown is how the model tells "
        f"these {told.tasks} tasks apart, and no more."
    )


def _picture(
    name: str, title: str, items: Sequence[InputImportance], colours: tuple[str, str], told: Importance
) -> Picture:
    dark, light = colours
    shown = list(items[:_MOST])[::-1]
    # Absolute means of parts add up to more than that of the whole: they share its length.
    shares = [item.general / max(item.general + item.specific, 1e-12) for item in shown]
    names = [label(item.name) for item in shown]

    def bars(part: str, lengths: list[float], colour: str, **more: object) -> dict[str, object]:
        return {
            "type": "bar",
            "orientation": "h",
            "name": part,
            "y": names,
            "x": [round(length, 5) for length in lengths],
            "marker": {"color": colour},
            "hovertemplate": "%{y}: %{x:.3f} " + part + "<extra></extra>",
            **more,
        }

    sizes = [item.importance for item in shown]
    spread = {
        "type": "data",
        "symmetric": False,
        "array": [round(item.high - item.importance, 5) for item in shown],
        "arrayminus": [round(item.importance - item.low, 5) for item in shown],
        "color": "#5b6470",
        "thickness": 1.2,
        "width": 3,
    }
    general = [size * share for size, share in zip(sizes, shares, strict=True)]
    specific = [size - part for size, part in zip(sizes, general, strict=True)]
    figure: Figure = {
        "data": [
            bars("the same on every task", general, dark),
            bars("another on another task", specific, light, error_x=spread),
        ],
        "layout": layout(
            barmode="stack",
            bargap=0.4,
            showlegend=True,
            legend=legend(traceorder="normal"),
            xaxis=axis("mean |SHAP|", rangemode="tozero"),
            yaxis=axis(type="category"),
            margin={"l": 8, "r": 12, "t": 34, "b": 44},
        ),
    }
    first = ", ".join(f"{item.name} {item.importance:.2f}" for item in items[:3])
    warned = "" if told.is_trusted else " Not to be trusted: see above."
    more = f" {len(items) - _MOST} more are in the table." if len(items) > _MOST else ""
    return Picture(
        name=f"importance-{name}",
        title=title,
        figure=figure,
        alt=f"Bars of importance, the largest first: {first}.",
        caption="By how much each moved predictions: a mean over all past tasks and configs, in standard "
        "deviations of the score, the largest first. Whiskers: lowest and highest in models that each lacked "
        f"some tasks and configs.{more}{warned}",
        height=104 + 24 * len(shown),
    )


def _effect_picture(effect: Effect) -> Picture:
    values = [label(value) for value in effect.values]
    figure: Figure = {
        "data": [
            {
                "type": "bar",
                "x": values,
                "y": [round(moved, 5) for moved in effect.effects],
                "customdata": list(effect.counts),
                "marker": {"color": [BLUE if moved >= 0 else AMBER for moved in effect.effects]},
                "hovertemplate": "%{x}: %{y:+.3f}<br>%{customdata} configs<extra></extra>",
            }
        ],
        "layout": layout(
            bargap=0.3,
            xaxis=axis(type="category", tickangle=-30 if len("".join(values)) > 40 else 0),
            yaxis=axis(zeroline=True, zerolinecolor=GREY, tickformat="+.2~f"),
            margin={"l": 48, "r": 8, "t": 6, "b": 30},
        ),
    }
    best = max(range(len(values)), key=effect.effects.__getitem__)
    return Picture(
        name=f"effect-{effect.name}".replace("_", "-"),
        title=effect.name,
        figure=figure,
        alt=f"Effect of {effect.name} by value; best: {effect.values[best]}, {effect.effects[best]:+.2f}.",
        caption="",
        height=210,
    )


def _table(told: Importance) -> Html:
    columns = [Column("input"), Column("kind"), Column("importance", is_number=True)]
    columns += [Column(name, is_number=True) for name in ("lowest", "highest", "general", "task-specific")]
    rows: list[Row] = [
        [
            item.name,
            kind,
            *(
                Cell(f"{number:.3f}", number)
                for number in (item.importance, item.low, item.high, item.general, item.specific)
            ),
        ]
        for kind, items in (("hyperparameter", told.hyperparameters), ("meta-feature", told.meta_features))
        for item in items
    ]
    caption = (
        "Importances in standard deviations of the score. “General” and “task-specific” are means of "
        "absolute parts and add up to more than their whole."
    )
    return details("The same as a table", table(caption, columns, rows))
