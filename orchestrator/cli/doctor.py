"""The command that looks at this machine."""

import json
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.app.exits import Exit
from orchestrator.cli.options import AsJson
from orchestrator.cli.screen import screen


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command(epilog="Example: `foretune doctor --root runs/tiny-1800`")(doctor)


def doctor(
    root: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Also try the storage of a sweep's folder, which need not exist."),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Also ask a running Ray cluster, or `auto`; or a job server, as http://HOST:8265.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Check this machine, its GPUs, Ray and its settings; tell what to do about each thing found.

    Ends with 0 when nothing failed, with 1 when something did; warnings count as no failure. Asks no one but
    the cluster that is named, starts no cluster, and leaves nothing behind.
    """
    from orchestrator.app.doctor import examine

    diagnosis = examine(root=root, address=address)
    if as_json:
        typer.echo(json.dumps(diagnosis.as_dict(), indent=2))
    else:
        screen().print(diagnosis.render(), highlight=False)
    return Exit.DONE if diagnosis.ok else Exit.NO
