"""Commands about tasks and the embedded base model."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from orchestrator.cli.options import AsJson
from orchestrator.cli.screen import screen


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    generate = typer.Typer(help="Make synthetic question-answer tasks.", no_args_is_help=True)
    generate.command(epilog="Example: `foretune generate worlds --out runs/worlds --task towns --task laws`")(
        worlds
    )
    app.add_typer(generate, name="generate")
    app.command(epilog="Example: `foretune pretrain --out runs/tiny-phi3`")(pretrain)


def worlds(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for one JSONL file a task.")],
    seed: Annotated[int, typer.Option(help="Another seed invents other entities.")] = 0,
    task: Annotated[
        list[str] | None, typer.Option(help="Only this task; may be given again. Left out: all.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Write the built-in tasks about invented worlds: 12 wordings of every fact, 10/1/1 over the splits."""
    from orchestrator.app.generate import generate_worlds

    written = generate_worlds(out, seed=seed, names=task)
    if as_json:
        typer.echo(json.dumps([item.as_dict() for item in written], indent=2))
        return 0
    table = Table(box=None, padding=(0, 2), header_style="bold")
    for column in ("task", "facts", "train", "validation", "test", "file"):
        table.add_column(column, justify="left" if column in ("task", "file") else "right")
    for item in written:
        counts = (str(item.facts), str(item.train), str(item.validation), str(item.test))
        table.add_row(item.name, *counts, str(item.path))
    screen().print(table)
    return 0


def pretrain(
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for the model; an unfinished one is continued.")
    ],
    seed: Annotated[int, typer.Option(help="Seed of the weights, the world and the order of its text.")] = 0,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Optimizer steps; left out: those of the shipped model.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Make the embedded base model anew: a tiny Phi-3 pretrained on text about invented worlds."""
    from orchestrator.app.pretrain import pretrain_base

    report = pretrain_base(out, seed=seed, steps=steps, console=screen(quiet=as_json))
    if as_json:
        typer.echo(json.dumps(report, indent=2))
    return 0
