"""Commands about what has been learned."""

import enum
import json
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.options import Address, AsJson, Root, parse_budget
from orchestrator.cli.screen import screen


class Format(enum.StrEnum):
    """How the first choice is printed."""

    PEFT = "peft"


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command(epilog="Example: `foretune serve runs/tiny-1800`")(serve)
    app.command(epilog="Example: `foretune recommend mytask.jsonl --budget 60s --root runs/tiny-1800`")(
        recommend
    )


def serve(root: Root, address: Address = None, as_json: AsJson = False) -> int:
    """Start the surrogate actor for a sweep: named, detached, asked by `recommend`.

    On an embedded Ray it lives as long as this command, until Ctrl-C; on a given cluster it stays when this
    returns.
    """
    from orchestrator.app.serving import serve_until_interrupted

    serve_until_interrupted(root, address=address, console=screen(), as_json=as_json)
    return 0


def recommend(
    task: Annotated[
        str, typer.Argument(metavar="TASK", help="A task's file, `worlds:NAME` or `hf:DATASET`.")
    ],
    budget: Annotated[str, typer.Option(help="What may be spent on training, such as 60s, 45m or 5h.")],
    root: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Learn from this sweep; left out: the newest under ./runs."),
    ] = None,
    k: Annotated[int, typer.Option("--k", min=1, help="At most so many choices.")] = 5,
    fmt: Annotated[
        Format | None, typer.Option("--format", help="Print the first choice for this library.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Say how to finetune on a new task: ranked configs with score, cost, and what they rest on."""
    budget_s = parse_budget(budget)
    from orchestrator.app.advice import recommend as ask

    advice = ask(task, budget_s, root=root, k=k)
    if fmt is Format.PEFT:
        typer.echo(json.dumps(advice.as_peft(), indent=2))
    elif as_json:
        typer.echo(json.dumps(advice.as_dict(), indent=2))
    else:
        screen().print(advice.render())
    return 0
