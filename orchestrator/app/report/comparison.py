"""The comparison of methods: regret over time, and average ranks with what can be told apart."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.app.report.evaluated import Evaluated
from orchestrator.app.report.html import Cell, Column, Html, Row, join, note, table, tag
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
    numbers,
    slug,
)
from orchestrator.app.report.ranks import Ranking, letters, ranking
from orchestrator.app.report.sections import Section, grid, key, paragraph
from orchestrator.app.report.wording import MISSING, count, digits
from surrogates.evaluation.ours import OURS

_TOLD_APART = (BLUE, GREEN, AMBER, PINK, SKY, BROWN)
"""The best others get a colour; the rest are grey, and named where one points."""
_FLOOR = 1e-3
"""Regret below this is drawn here, since the axis is logarithmic."""


def comparison_section(path: Path, evaluated: Evaluated | None) -> Section:
    """Return how methods compare on the recorded curves, or how to find out."""
    anchor, title = "evaluation", "Ours and other methods"
    if evaluated is None:
        said = note(
            "No comparison was made yet. This command leaves every task out in turn and replays what each "
            "method would have found: ",
            tag("code", f"foretune evaluate {path}"),
            " Then make the report again.",
        )
        return Section(anchor=anchor, title=title, body=said)
    looks = _looks([method["name"] for method in evaluated.methods])
    budgets = [float(budget) for budget in evaluated.results["budgets"]]
    regrets = [_regret_picture(evaluated, budget, looks) for budget in budgets]
    rankings = {budget: _ranking(evaluated, budget) for budget in budgets}
    ranked = [_rank_picture(budget, found) for budget, found in rankings.items()]
    body = [
        _intro(evaluated),
        _key(looks),
        grid(regrets, wide=True),
        paragraph(
            "Average ranks over tasks, 1 would be best on every one. Two methods whose bars don't overlap "
            "differ with 5 % error (Nemenyi, after Friedman's test); where they do, these tasks can't tell "
            "them apart."
        ),
        grid(ranked, wide=True),
        _table(evaluated, rankings[budgets[-1]]),
        *(note(text) for text in evaluated.notes),
    ]
    return Section(anchor=anchor, title=title, body=join(body), pictures=(*regrets, *ranked))


def _intro(evaluated: Evaluated) -> Html:
    results = evaluated.results
    clock = "count" if results["own_time"] else "don't count"
    # Comparisons of releases before --on do not say that they were none of those.
    learned = f"with what {results['path']} taught" if results.get("elsewhere") else "left out in turn"
    return paragraph(
        f"{count(len(results['tasks']), 'task')} {learned}, {count(results['seeds'], 'seed')}; the "
        f"methods' own seconds {clock}. Regret is 0 at the best config on record and 1 at the median one; "
        "time is in median full runs of the task. Mean over tasks of the mean over seeds; lower and "
        "earlier is better."
    )


def _looks(names: list[str]) -> dict[str, dict[str, Any]]:
    others = [name for name in names if name != OURS]
    looks: dict[str, dict[str, Any]] = {name: {"color": GREY, "width": 1} for name in others}
    for name, colour in zip(others, _TOLD_APART, strict=False):
        looks[name] = {"color": colour, "width": 1.6}
    if OURS in names:
        looks[OURS] = {"color": VERMILION, "width": 3}
    return looks


def _key(looks: Mapping[str, dict[str, Any]]) -> Html:
    named = [(look["color"], "solid", name) for name, look in looks.items() if look["color"] != GREY]
    named.sort(key=lambda entry: entry[2] != OURS)
    grey = sum(look["color"] == GREY for look in looks.values())
    return key([*named, *([(GREY, "solid", count(grey, "other method"))] if grey else [])])


def _regret_picture(evaluated: Evaluated, budget: float, looks: Mapping[str, dict[str, Any]]) -> Picture:
    lines = evaluated.lines[evaluated.lines["budget"] == budget]
    order = sorted(looks, key=lambda name: (name == OURS, looks[name]["width"]))
    data = []
    for name in order:
        line = lines[lines["method"] == name]
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": label(name),
                "x": numbers(line["time"]),
                "y": numbers(line["regret"].clip(lower=_FLOOR)),
                "line": {**looks[name], "shape": "hv"},
                "opacity": 0.55 if looks[name]["color"] == GREY else 1.0,
                "hovertemplate": "%{fullData.name}<br>at %{x:.2f} full runs: regret %{y:.3f}<extra></extra>",
            }
        )
    figure: Figure = {
        "data": data,
        "layout": layout(
            xaxis=axis("time, in median full runs"),
            yaxis=axis("regret, log scale", type="log", dtick=1),
            margin={"l": 56, "r": 8, "t": 6, "b": 40},
        ),
    }
    at_end = [(method["name"], _at(method, budget)["regret"]["mean"]) for method in evaluated.methods]
    best = min(at_end, key=lambda pair: pair[1])
    ours = "".join(
        f"; {OURS} {digits(regret)}" for name, regret in at_end if name == OURS and name != best[0]
    )
    caption = (
        f"At the end of {budget:g} full runs the lowest regret is {digits(best[1])}, of {best[0]}{ours}."
    )
    return Picture(
        name=f"regret-{slug(f'{budget:g}')}x",
        title=f"Regret over time, budget {budget:g}x",
        figure=figure,
        alt=f"Regret over time of {count(len(order), 'method')}. {caption}",
        caption=caption,
        height=330,
    )


def _at(method: dict[str, Any], budget: float) -> dict[str, Any]:
    return next(at for at in method["at"] if float(at["budget"]) == budget)


def _ranking(evaluated: Evaluated, budget: float) -> Ranking:
    return ranking(evaluated.measures[evaluated.measures["budget"] == budget])


def _rank_picture(budget: float, found: Ranking) -> Picture:
    names = list(found.ranks)[::-1]
    half = found.critical_difference / 2
    colours = [VERMILION if name == OURS else GREY for name in names]
    figure: Figure = {
        "data": [
            {
                "type": "scatter",
                "mode": "markers",
                "x": numbers([found.ranks[name]]),
                "y": [label(name)],
                "marker": {"size": 9, "color": colour},
                "error_x": {
                    "type": "data",
                    "array": [round(half, 4)],
                    "color": colour,
                    "thickness": 2,
                    "width": 4,
                }
                if half < 1e6
                else {},
                "hovertemplate": "%{y}: average rank %{x:.2f}<extra></extra>",
            }
            for name, colour in zip(names, colours, strict=True)
        ],
        "layout": layout(
            xaxis=axis("average rank ± half the critical difference"),
            yaxis=axis(type="category"),
            margin={"l": 8, "r": 8, "t": 6, "b": 44},
        ),
    }
    ranks = ", ".join(f"{name} {rank:.1f}" for name, rank in found.ranks.items())
    alike = found.groups[0]
    told = (
        f"none of the {len(names)} methods can be told apart"
        if len(found.groups) == 1
        else f"{len(alike)} of {len(names)} methods can't be told from the best"
    )
    caption = (
        f"{count(found.tasks, 'task')}: Friedman p = {digits(found.p, 2)}, critical difference "
        f"{found.critical_difference:.1f} ranks; {told}."
    )
    return Picture(
        name=f"ranks-{slug(f'{budget:g}')}x",
        title=f"Average ranks, budget {budget:g}x",
        figure=figure,
        alt=f"Average ranks: {ranks}. {caption}",
        caption=caption,
        height=76 + 22 * len(names),
    )


def _table(evaluated: Evaluated, last: Ranking) -> Html:
    budgets = [float(budget) for budget in evaluated.results["budgets"]]
    groups = letters(last)
    columns = [Column("method"), *(Column(f"regret {budget:g}x", is_number=True) for budget in budgets)]
    columns += [
        Column(f"rank {budgets[-1]:g}x", is_number=True),
        Column("group"),
        Column("ours against it", is_number=True),
    ]
    columns += [Column("p, Holm", is_number=True)]
    rows: list[Row] = []
    for method in evaluated.methods:
        name = method["name"]
        regrets = [_at(method, budget)["regret"] for budget in budgets]
        against = _at(method, budgets[-1])["against"]
        won = MISSING if against is None else f"{against['wins']}-{against['ties']}-{against['losses']}"
        p = None if against is None else float(against["p_holm"])
        rank = last.ranks.get(name)
        rows.append(
            [
                tag("strong", name) if name == OURS else name,
                *(
                    Cell(
                        f"{regret['mean']:.3f} ({regret['low']:.2f}–{regret['high']:.2f})",
                        float(regret["mean"]),
                    )
                    for regret in regrets
                ),
                Cell(MISSING if rank is None else f"{rank:.1f}", rank),
                groups.get(name, MISSING),
                Cell(won, None if against is None else float(against["wins"])),
                Cell(MISSING if p is None else f"{p:.2f}", p),
            ]
        )
    caption = (
        "Mean regret over tasks with its 95 % bootstrap interval, the lowest first. Methods that share a "
        f"letter under “group” can't be told apart at {budgets[-1]:g}x; “ours against it” counts tasks "
        "won-tied-lost there, with Wilcoxon's p corrected after Holm."
    )
    return table(caption, columns, rows)
