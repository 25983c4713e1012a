"""Commands that run sweeps and look at them."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import Address, AsJson, Root
from orchestrator.cli.screen import screen

if TYPE_CHECKING:
    from orchestrator.app.spec import SweepSpec

STOPPED_EARLY = 3


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command(epilog="Example: `foretune quickstart`")(quickstart)
    app.command(epilog="Example: `foretune run examples/tiny-1800.yaml --root runs/tiny-1800`")(run)
    app.command(epilog="Example: `foretune resume runs/tiny-1800`")(resume)
    app.command(epilog="Example: `foretune status runs/tiny-1800 --json`")(status)
    app.command(epilog="Example: `foretune verify runs/a --against runs/b`")(verify)


def quickstart(as_json: AsJson = False) -> int:
    """See the whole story, with real parts, in about four minutes: everything goes to ./runs."""
    from orchestrator.app.quickstart import quickstart as tell

    story = tell(Path("runs"), console=screen(quiet=as_json))
    if as_json:
        typer.echo(json.dumps(story.as_dict(), indent=2))
    return 0


def run(
    spec: Annotated[Path, typer.Argument(metavar="SWEEP.yaml", help="The sweep's spec; see examples/.")],
    root: Annotated[
        Path, typer.Option(metavar="DIR", help="The sweep's folder: new, empty, or this sweep's own.")
    ],
    address: Address = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and plan only; write nothing.")] = False,
    copy_tasks: Annotated[
        bool,
        typer.Option(
            "--copy-tasks", help="Copy task files into DIR, for nodes that don't see the spec's folder."
        ),
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Start a sweep, or continue it where it was left, on an embedded or a given Ray cluster."""
    from orchestrator.app.spec import load_spec

    loaded = load_spec(spec)
    if dry_run:
        from orchestrator.app.preview import preview

        plan = preview(loaded, root)
        if as_json:
            typer.echo(json.dumps(plan.as_dict(), indent=2))
        else:
            screen().print(plan.render())
        return 0
    return _drive(loaded, root, address, as_json, copies_tasks=copy_tasks)


def resume(root: Root, address: Address = None, as_json: AsJson = False) -> int:
    """Continue an interrupted sweep: what is on disk is kept, what was lost is done again."""
    from orchestrator.app.roots import existing_spec

    return _drive(existing_spec(root), root, address, as_json)


def _drive(
    spec: "SweepSpec", root: Path, address: str | None, as_json: bool, *, copies_tasks: bool = False
) -> int:
    from orchestrator.app.status import status_of
    from orchestrator.app.sweep import run_sweep

    console = screen(quiet=as_json)
    report = run_sweep(spec, root, address=address, console=console, copies_tasks=copies_tasks)
    if as_json:
        typer.echo(json.dumps(status_of(root).as_dict(), indent=2))
    elif report.is_done:
        console.print(f"Done: {report.snapshot.finished} trials. Results lie in {root}", soft_wrap=True)
    else:
        console.print(f"Stopped before the end; continue with: foretune resume {root}", soft_wrap=True)
    return 0 if report.is_done else STOPPED_EARLY


def status(root: Root, as_json: AsJson = False) -> int:
    """Show where a sweep stands, from its folder alone; works while it runs."""
    from orchestrator.app.status import status_of

    state = status_of(root)
    if as_json:
        typer.echo(json.dumps(state.as_dict(), indent=2))
    else:
        screen().print(state.render())
    return 0


def verify(
    root: Root,
    against: Annotated[
        Path | None,
        typer.Option(metavar="ROOT2", help="Also compare results with this sweep's, bit for bit."),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Prove that no row is missing, doubled or mislabelled; or that two sweeps hold the same results."""
    from orchestrator.app.status import certify

    certificates = certify(root, against)
    if as_json:
        typer.echo(json.dumps([certificate.as_dict() for certificate in certificates], indent=2))
    else:
        for certificate in certificates:
            typer.echo(certificate.render())
    return 0 if all(certificate.ok for certificate in certificates) else 1
