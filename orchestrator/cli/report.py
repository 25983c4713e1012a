"""The command that writes a report."""

import json
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.options import AsJson, parse_budget
from orchestrator.contracts import InputError


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command(epilog="Example: `foretune report runs/tiny-1800 --task machines --budget 60s`")(report)


def report(
    root: Annotated[
        Path, typer.Argument(metavar="ROOT", help="A sweep's folder, also while it runs, or one of tables.")
    ],
    task: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE", help="Also plan for this task: one of ROOT's, or as `recommend` takes it."
        ),
    ] = None,
    budget: Annotated[str | None, typer.Option(help="The plan's budget, such as 60s, 45m or 5h.")] = None,
    k: Annotated[int, typer.Option("--k", min=1, help="At most so many choices in the plan.")] = 5,
    metric: Annotated[
        str | None, typer.Option(help="What decides; left out: `eval_loss`, or what the tables say.")
    ] = None,
    evaluation: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where `evaluate` left its results; left out: ROOT/evaluation."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to write; left out: ROOT/report.html.")
    ] = None,
    png: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Also write the pictures as PNG; needs a Chrome or Chromium."),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Write one HTML file with pictures of a sweep: open it in a browser, no server, no network.

    Progress, learning curves, configs, what decides, cost against score, the comparison of methods where
    `evaluate` was
    run, a plan with its evidence, and where all of it comes from. ROOT is only read.
    """
    if (task is None) != (budget is None):
        raise InputError("a plan needs both: --task NAME --budget 60s")
    budget_s = None if budget is None else parse_budget(budget)
    from orchestrator.app.report import write_report

    written = write_report(
        root, out=out, metric=metric, task=task, budget_s=budget_s, k=k, evaluation=evaluation, png=png
    )
    typer.echo(json.dumps(written.as_dict(), indent=2) if as_json else written.render())
    return 0
