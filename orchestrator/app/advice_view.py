"""A plan as tables for people."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.contracts import Config, ConfigId, config_id
from surrogates.plan import Choice, Plan, Prediction


def render_plan(head: str, plan: Plan, default: Config) -> RenderableType:
    """Return a plan with its evidence, how strange the task is, and all notes.

    Args:
        head: What is said first: for what, learned from what, answered by whom.
        plan: The plan.
        default: Config that the choices are told against.

    Returns:
        What rich prints.
    """
    strangeness = plan.strangeness
    told = "can't be told" if strangeness is None else f"{strangeness:.2f} (up to 1 is usual)"
    notes = [f"strangeness of the task: {told}", *(f"note: {note}" for note in plan.notes)]
    legend = map(Text, _legend(plan))
    return Group(Text(head), _choices(plan, default), *legend, _evidence(plan), *map(Text, notes))


def brief(config: Config, default: Config) -> str:
    """Return what of a config differs from the default, numbers with three digits."""
    parts = [
        f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in sorted(config.items())
        if name not in default or value != default[name]
    ]
    return ", ".join(parts) or "the default"


def _choices(plan: Plan, default: Config) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="bold")
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("config", ratio=1, overflow="fold")
    first = plan.choices[0]
    predicted = [first.score.metric, *(report.metric for report in first.reports)]
    for column in ("epochs", *predicted, "cost", "P(fail)"):
        table.add_column(column, justify="right", no_wrap=True)
    best = plan.best.rank
    earlier: dict[ConfigId, Choice] = {}
    for choice in plan.choices:
        told = {item.metric: _interval(item) for item in (choice.score, *choice.reports)}
        begun = earlier.get(config_id(choice.config))
        what = brief(choice.config, default) if begun is None else f"choice {begun.rank}, continued"
        table.add_row(
            f"{choice.rank}{'*' if choice.rank == best else ''}",
            f"in reserve: {what}" if choice.is_reserve else what,
            str(choice.epochs) if begun is None else f"{begun.epochs} to {choice.epochs}",
            *(told.get(metric, "-") for metric in predicted),
            f"{choice.cost_s:.1f} s",
            f"{choice.failure_probability:.2f}",
        )
        earlier[config_id(choice.config)] = choice
    return table


def _legend(plan: Plan) -> list[str]:
    """Return what the marks of the choices mean, but for those that no choice has."""
    lines = []
    if len(plan.choices) > 1:
        lines.append(
            f"The choices are in the order in which to run them; if only one is run: {plan.best.rank}*"
        )
    if any(choice.is_reserve for choice in plan.choices):
        lines.append("In reserve: beyond the budget by what is predicted; to be begun if all goes faster")
    return lines


def _evidence(plan: Plan) -> Table:
    table = Table(
        box=None, padding=(0, 1), header_style="bold", title="What this rests on", title_justify="left"
    )
    table.add_column("#", justify="right")
    for column in ("past task", "trial", "same config"):
        table.add_column(column)
    for column in ("outcome", "epoch", plan.choices[0].score.metric):
        table.add_column(column, justify="right")
    for choice in plan.choices:
        for trial in choice.evidence:
            table.add_row(
                str(choice.rank),
                trial.task_name,
                trial.trial_id,
                "yes" if trial.config_distance == 0 else f"no, {trial.config_distance:.2f} away",
                trial.outcome,
                "-" if trial.epoch is None else str(trial.epoch),
                "-" if trial.value is None else f"{trial.value:.3f}",
            )
    return table


def _interval(prediction: Prediction) -> str:
    return f"{prediction.value:.2f} ({prediction.low:.2f}-{prediction.high:.2f})"
