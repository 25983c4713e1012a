"""The command that shows a search space."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.padding import Padding
from rich.table import Table

from orchestrator.cli.options import AsJson
from orchestrator.cli.screen import screen
from orchestrator.contracts import InputError

if TYPE_CHECKING:
    from workers.space import SearchSpace

_DEFAULT_PRESET = "tiny"


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command(epilog="Example: `foretune space --preset phi3-extended`")(space)


def space(
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=f"tiny or phi3, with -extended behind it for all names. Left out: {_DEFAULT_PRESET}.",
        ),
    ] = None,
    sweep: Annotated[
        Path | None,
        typer.Option(metavar="SWEEP.yaml", help="Show this sweep's space, with its changes, instead."),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Show a search space: ranges, defaults, conditions, what can't be together."""
    shown = _chosen(preset, sweep)
    if as_json:
        typer.echo(shown.to_json())
        return 0
    console = screen()
    console.print(_names(shown))
    if shown.combinations:
        console.print("\nCan't be together:", style="bold")
        for combination in shown.combinations:
            console.print(Padding(str(combination), (0, 0, 0, 2)), highlight=False)
            console.print(Padding(combination.reason, (0, 0, 0, 6)), highlight=False)
    if shown.left_out:
        console.print("\nNot searched, to be added under `space:` of a sweep:", style="bold")
        console.print(Padding(", ".join(shown.left_out), (0, 0, 0, 2)), highlight=False)
    count = f"{shown.size:,.0f}" if shown.is_finite else "infinitely many"
    typer.echo(f"\nversion {shown.version}, {count} configs")
    return 0


def _chosen(preset: str | None, sweep: Path | None) -> "SearchSpace":
    from workers.space import SearchSpace

    if sweep is None:
        return SearchSpace.preset(preset or _DEFAULT_PRESET)
    if preset is not None:
        raise InputError(f"--preset {preset} and --sweep {sweep} name two spaces; give one of them")
    from orchestrator.app.spec import load_spec

    spec = load_spec(sweep)
    return SearchSpace.from_spec(spec.preset, spec.space)


def _names(shown: "SearchSpace") -> Table:
    rows = shown.describe()
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold")
    table.add_column("name", no_wrap=True)
    table.add_column("range")
    table.add_column("default", no_wrap=True)
    is_conditional = any(row.condition for row in rows)
    if is_conditional:
        table.add_column("condition")
    table.add_column("meaning")
    for row in rows:
        condition = [row.condition] if is_conditional else []
        table.add_row(row.name, row.range, row.default, *condition, row.meaning)
    return table
