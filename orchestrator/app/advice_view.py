"""A plan as tables for people."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.contracts import Config
from surrogates.plan import Plan, Prediction


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
    return Group(Text(head), _choices(plan, default), _evidence(plan), *map(Text, notes))


def brief(config: Config, default: Config) -> str:
    """Return what of a config differs from the default."""
    names = sorted(config.keys() | default.keys())
    parts = [
        f"{name}={config[name]}" for name in names if name in config and config[name] != default.get(name)
    ]
    return ", ".join(parts) or "the default"


def _choices(plan: Plan, default: Config) -> Table:
    table = Table(box=None, padding=(0, 2), header_style="bold")
    table.add_column("#", justify="right")
    table.add_column("config", ratio=1)
    first = plan.choices[0]
    predicted = [first.score.metric, *(report.metric for report in first.reports)]
    for column in ("epochs", *predicted, "cost", "P(fail)"):
        table.add_column(column, justify="right", no_wrap=True)
    for choice in plan.choices:
        told = {item.metric: _interval(item) for item in (choice.score, *choice.reports)}
        table.add_row(
            str(choice.rank),
            brief(choice.config, default),
            str(choice.epochs),
            *(told.get(metric, "-") for metric in predicted),
            f"{choice.cost_s:.1f} s",
            f"{choice.failure_probability:.2f}",
        )
    return table


def _evidence(plan: Plan) -> Table:
    table = Table(
        box=None, padding=(0, 2), header_style="bold", title="What this rests on", title_justify="left"
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
