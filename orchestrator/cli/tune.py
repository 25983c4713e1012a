"""The command that runs a recommended plan."""

import json
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.app.exits import Exit
from orchestrator.cli.options import Address, AsJson, parse_budget
from orchestrator.cli.screen import screen


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command(epilog="Example: `foretune tune mytask.jsonl --budget 5h --root runs/tiny-1800`")(tune)


def tune(
    task: Annotated[
        str, typer.Argument(metavar="TASK", help="A task's file, `worlds:NAME` or `hf:DATASET`.")
    ],
    budget: Annotated[
        str,
        typer.Option(help="Training and evaluation of all trials together, such as 60s, 45m or 5h."),
    ],
    root: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Learn from this sweep; left out: the newest under ./runs."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Plan, curves and best adapter; left out: runs/tune/NAME."),
    ] = None,
    address: Address = None,
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="At most so many trials at a time.")
    ] = None,
    replan: Annotated[
        bool, typer.Option("--replan", help="Ask for a new plan; what was trained stays and counts.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Run the recommended plan on a new task, and keep the best adapter.

    The plan is taken once and kept: the same command continues it, also after `kill -9`. When the budget is
    gone, what runs ends after its epoch.
    """
    budget_s = parse_budget(budget)
    from orchestrator.app.tune import tune as run

    console = screen(quiet=as_json)
    report = run(
        task,
        budget_s,
        root=root,
        out=out,
        address=address,
        workers=workers,
        replan=replan,
        console=console,
    )
    if as_json:
        typer.echo(json.dumps(report.as_dict(), indent=2))
    else:
        console.print(report.render())
    if not report.is_done:
        typer.echo("foretune: stopped before the end; the same command continues", err=True)
        return Exit.STOPPED_EARLY
    if report.adapter is None:
        typer.echo("foretune: no trial gave an adapter; the table says how each ended", err=True)
        return Exit.NO
    console.print(f"The best adapter lies in {report.adapter}", soft_wrap=True)
    return Exit.DONE
