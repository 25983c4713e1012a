"""The recommender's plan for one task, and what it rests on."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from orchestrator.app.report.html import Cell, Column, Content, Html, Row, facts, join, note, table, tag
from orchestrator.app.report.pictures import (
    BLUE,
    GREY,
    SKY,
    VERMILION,
    Figure,
    Picture,
    axis,
    label,
    layout,
    numbers,
)
from orchestrator.app.report.sections import Section, grid, paragraph
from orchestrator.app.report.source import Source
from orchestrator.app.report.wording import CONFIG, MISSING, brief, count, digits, score, seconds
from orchestrator.contracts import InputError
from surrogates.plan import Choice, NearTask, Plan, Prediction

_MOST_TASKS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A plan, for what, and who gave it."""

    plan: Plan
    task: str
    answered_by: str


def ask(source: Source, task: str, budget_s: float, *, k: int | None) -> Asked:
    """Ask the recommender of a root or of tables.

    Args:
        source: What is learned from.
        task: The name of one of its tasks, whose own results are left out; or a task as ``recommend``
            takes it; or, for
            tables, a JSON file of meta-features.
        budget_s: Seconds.
        k: At most so many choices.

    Returns:
        The plan.

    Raises:
        InputError: The task or the budget can't be used.
        NothingLearnedError: No trial has finished yet.
    """
    known = [
        task_id for task_id, name in source.tasks.items() if name == task and source.features.get(task_id)
    ]
    if known:
        return _ask_known(source, known[0], task, budget_s, k)
    if source.spec is not None:
        from orchestrator.app.advice import recommend

        advice = recommend(task, budget_s, root=source.path, k=k)
        return Asked(plan=advice.plan, task=advice.task.name, answered_by=advice.answered_by)
    if not Path(task).is_file():
        raise InputError(
            f"--task {task}: there is no such task in {source.path} ({', '.join(source.tasks.values())}), "
            "and no file of that name with meta-features"
        )
    from orchestrator.app.advice import recommend_by_features

    found = recommend_by_features(Path(task), budget_s, root=source.path, k=k)
    return Asked(plan=found.plan, task=task, answered_by=found.answered_by)


def _ask_known(source: Source, task_id: str, task: str, budget_s: float, k: int | None) -> Asked:
    from orchestrator.app.askers import find_asker
    from surrogates.serving.questions import question

    asked = question(dict(source.features[task_id]), budget_s, k=k, task_id=task_id)
    with ExitStack() as connection:
        asker = find_asker(source.path.absolute(), connection)
        return Asked(plan=asker.ask(asked).plan, task=task, answered_by=asker.name)


def evidence_section(source: Source, asked: Asked) -> Section:
    """Return a plan, its predictions and its evidence."""
    plan = asked.plan
    pictures = [_score_picture(plan), _tasks_picture(plan.nearest_tasks)]
    strangeness = plan.strangeness
    known: list[tuple[str, Content]] = [
        ("task", asked.task),
        ("budget", seconds(plan.budget_s)),
        ("predicted cost", f"{seconds(plan.cost_s)}, without choices in reserve"),
        (
            "learned from",
            f"{plan.learned_from.tasks} tasks, {plan.learned_from.trials:,} trials, "
            f"{plan.learned_from.points:,} points",
        ),
        ("answered by", asked.answered_by),
        (
            "strangeness of the task",
            "can't be told" if strangeness is None else f"{strangeness:.2f} (up to 1 is usual)",
        ),
    ]
    best = plan.best
    body = [
        paragraph(
            "What to run, in this order, within the budget. ",
            tag("strong", f"If only one is run: choice {best.rank}."),
            " Predictions are for a task that nobody has tried: no result of this one was used. Intervals "
            "are meant to hold for four tasks in five.",
        ),
        facts(known),
        _choices(source, plan),
        grid(pictures, wide=True),
        _evidence(plan),
        *(note(text) for text in plan.notes),
    ]
    return Section(
        anchor="recommendation", title=f"A plan for {asked.task}", body=join(body), pictures=tuple(pictures)
    )


def _choices(source: Source, plan: Plan) -> Html:
    first = plan.choices[0]
    metrics = [first.score.metric, *(report.metric for report in first.reports)]
    columns = [
        Column("#", is_number=True),
        Column(CONFIG, is_long=True),
        Column("epochs", is_number=True),
    ]
    columns += [Column(metric, is_number=True) for metric in metrics]
    columns += [
        Column("cost", is_number=True),
        Column("P(fail)", is_number=True),
        Column("expected regret", is_number=True),
    ]
    default, constant = source.space.default(), source.constant
    rows: list[Row] = []
    for choice in plan.choices:
        told = {item.metric: item for item in (choice.score, *choice.reports)}
        what = brief(choice.config, default, constant)
        star = "★ " if choice.rank == plan.best.rank else ""
        marks = (", in reserve" if choice.is_reserve else "") + (", not tried yet" if choice.is_fresh else "")
        rows.append(
            [
                Cell(f"{star}{choice.rank}", float(choice.rank)),
                what + marks,
                Cell(str(choice.epochs), float(choice.epochs)),
                *(_predicted(told.get(metric)) for metric in metrics),
                Cell(seconds(choice.cost_s), choice.cost_s),
                Cell(score(choice.failure_probability), choice.failure_probability),
                Cell(score(choice.expected_regret), choice.expected_regret),
            ]
        )
    caption = (
        "The plan. Predicted metrics with 80 % intervals; expected regret is the plan's up to that choice "
        "(0 the best config on record, 1 the median one). ★ is the choice from which most is expected."
    )
    return table(caption, columns, rows)


def _predicted(told: Prediction | None) -> Cell:
    if told is None:
        return Cell(MISSING)
    return Cell(f"{digits(told.value)} ({digits(told.low)}–{digits(told.high)})", told.value)


def _score_picture(plan: Plan) -> Picture:
    metric = plan.choices[0].score.metric
    names = [f"choice {choice.rank}" for choice in plan.choices][::-1]
    shown = list(plan.choices)[::-1]

    def colour(choice: Choice) -> str:
        return VERMILION if choice.rank == plan.best.rank else GREY if choice.is_reserve else BLUE

    predicted = [
        {
            "type": "scatter",
            "mode": "markers",
            "x": numbers([choice.score.value]),
            "y": [name],
            "marker": {"size": 10, "color": colour(choice)},
            "error_x": {
                "type": "data",
                "symmetric": False,
                "array": [choice.score.high - choice.score.value],
                "arrayminus": [choice.score.value - choice.score.low],
                "color": colour(choice),
                "thickness": 2,
                "width": 5,
            },
            "hovertemplate": "%{y}: predicted %{x:.4g}<extra></extra>",
        }
        for choice, name in zip(shown, names, strict=True)
    ]
    past = [
        (trial.value, name, f"{trial.task_name}, trial {trial.trial_id[:8]}")
        for choice, name in zip(shown, names, strict=True)
        for trial in choice.evidence
        if trial.value is not None
    ]
    evidence = {
        "type": "scatter",
        "mode": "markers",
        "x": numbers([value for value, _, _ in past]),
        "y": [name for _, name, _ in past],
        "text": [label(text) for _, _, text in past],
        "marker": {"symbol": "diamond-open", "size": 8, "color": SKY, "line": {"width": 1.5}},
        "hovertemplate": "%{text}<br>" + label(metric) + " %{x:.4g}<extra></extra>",
    }
    figure: Figure = {
        "data": [*predicted, evidence],
        "layout": layout(
            xaxis=axis(metric),
            yaxis=axis(type="category", categoryorder="array", categoryarray=names),
            margin={"l": 8, "r": 12, "t": 6, "b": 44},
        ),
    }
    best = plan.best.score
    told = f"{digits(best.low)} to {digits(best.high)}"
    return Picture(
        name="plan-scores",
        title="Predicted, and what it rests on",
        figure=figure,
        alt=f"Predicted {metric} by choice; the best: {digits(best.value)} ({told}).",
        caption=f"Dots: predicted {metric} with its 80 % interval (orange: the best, grey: in reserve). "
        "Diamonds: what the nearest config reached on the past tasks that count most, on their own scale.",
        height=110 + 34 * len(names),
    )


def _tasks_picture(tasks: tuple[NearTask, ...]) -> Picture:
    shown = tasks[:_MOST_TASKS]
    figure: Figure = {
        "data": [
            {
                "type": "bar",
                "orientation": "h",
                "x": [round(100 * task.weight, 3) for task in shown][::-1],
                "y": [label(task.name) for task in shown][::-1],
                "customdata": [
                    MISSING if task.distance is None else f"{task.distance:.2f}" for task in shown
                ][::-1],
                "marker": {"color": BLUE},
                "hovertemplate": "%{y}: %{x:.1f} % of the say, distance %{customdata}<extra></extra>",
            }
        ],
        "layout": layout(
            bargap=0.4,
            xaxis=axis("share of the say, %", rangemode="tozero"),
            yaxis=axis(type="category"),
            margin={"l": 8, "r": 12, "t": 6, "b": 44},
        ),
    }
    first = shown[0] if shown else None
    told = "" if first is None else f" {first.name} counts most, {100 * first.weight:.0f} %."
    return Picture(
        name="plan-tasks",
        title="Whose word counts",
        figure=figure,
        alt=f"Weights of {count(len(tasks), 'past task')}.{told}",
        caption=f"Past tasks by the share that their word has in the predictions.{told}",
        height=100 + 24 * len(shown),
    )


def _evidence(plan: Plan) -> Html:
    metric = plan.choices[0].score.metric
    rows: list[Row] = [
        [
            Cell(str(choice.rank), float(choice.rank)),
            trial.task_name,
            Cell(
                "the same" if trial.config_distance == 0 else f"{trial.config_distance:.2f} away",
                trial.config_distance,
            ),
            trial.outcome,
            Cell(MISSING if trial.epoch is None else str(trial.epoch)),
            Cell(digits(trial.value), trial.value),
            Cell(trial.trial_id[:8], is_code=True),
        ]
        for choice in plan.choices
        for trial in choice.evidence
    ]
    columns = [
        Column("#", is_number=True),
        Column("past task"),
        Column("config", is_number=True),
        Column("outcome"),
    ]
    columns += [Column("epoch", is_number=True), Column(metric, is_number=True), Column("trial")]
    return table(
        "The past trials that each choice rests on: the nearest config on the tasks that count most.",
        columns,
        rows,
    )
