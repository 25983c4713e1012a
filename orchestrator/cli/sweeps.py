"""Commands that run sweeps and look at them."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.app.exits import Exit
from orchestrator.cli.options import Address, AsJson, Mirror, Root, ServerAddress
from orchestrator.cli.screen import screen
from orchestrator.contracts import InputError

if TYPE_CHECKING:
    from orchestrator.app.remote.submission import RemoteStatus
    from orchestrator.app.spec import SweepSpec
    from orchestrator.app.status import SweepStatus


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command(epilog="Example: `foretune quickstart`")(quickstart)
    app.command(epilog="Example: `foretune run examples/tiny-1800.yaml --root runs/tiny-1800`")(run)
    app.command(epilog="Example: `foretune resume runs/tiny-1800 --with examples/tiny-1800.yaml`")(resume)
    app.command(epilog="Example: `foretune status runs/tiny-1800 --json`")(status)
    app.command(epilog="Example: `foretune verify runs/a --against runs/b`")(verify)
    app.command(epilog="Example: `foretune reproduce 4471b40c --root runs/quickstart --epochs 3`")(reproduce)


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
    mirror: Mirror = None,
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
    return _drive(loaded, root, address, as_json, copies_tasks=copy_tasks, mirror=mirror)


def resume(
    root: Root,
    changed: Annotated[
        Path | None,
        typer.Option("--with", metavar="SWEEP.yaml", help="A changed spec: more tasks, configs, epochs, ..."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Adopt the changed spec without asking.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --with: show the difference and end.")
    ] = False,
    mirror: Mirror = None,
    address: Address = None,
    as_json: AsJson = False,
) -> int:
    """Continue an interrupted sweep: what is on disk is kept, what was lost is done again.

    With a changed spec the difference is shown first, and what it means for the trials; then only what is new
    is run.
    """
    from orchestrator.app.roots import existing_spec

    if changed is None:
        if dry_run:
            raise InputError("--dry-run shows a difference: name the changed spec with --with SWEEP.yaml")
        return _drive(existing_spec(root), root, address, as_json, mirror=mirror)
    return _resume_changed(root, changed, address, as_json, mirror=mirror, yes=yes, dry_run=dry_run)


def _resume_changed(
    root: Path,
    changed: Path,
    address: str | None,
    as_json: bool,
    *,
    mirror: str | None,
    yes: bool,
    dry_run: bool,
) -> int:
    from orchestrator.app.changes import adopt, spec_change
    from orchestrator.app.spec import load_spec

    change = spec_change(root, load_spec(changed))
    if as_json and dry_run:
        typer.echo(json.dumps(change.as_dict(), indent=2))
    if not as_json:
        screen().print(change.render())
    if dry_run:
        return 0
    if not change.is_empty:
        if not yes and not _is_confirmed():
            typer.echo("Nothing was changed.")
            return Exit.STOPPED_EARLY
        adopt(change)
    return _drive(change.spec, root, address, as_json, mirror=mirror)


def _is_confirmed() -> bool:
    if not sys.stdin.isatty():
        raise InputError("there is no terminal to ask on; say --yes to adopt the changed spec, or --dry-run")
    return typer.confirm("Continue the sweep with this spec?")


def _drive(
    spec: "SweepSpec",
    root: Path,
    address: str | None,
    as_json: bool,
    *,
    copies_tasks: bool = False,
    mirror: str | None = None,
) -> int:
    from orchestrator.app.spec import with_mirror
    from orchestrator.app.status import status_of
    from orchestrator.app.sweep import run_sweep

    console = screen(quiet=as_json)
    if mirror is not None:
        spec = with_mirror(spec, mirror)
    report = run_sweep(spec, root, address=address, console=console, copies_tasks=copies_tasks)
    if report.mirror is not None and report.mirror.behind_files:
        typer.echo(f"foretune: {report.mirror.render()}", err=True)
    if as_json:
        typer.echo(json.dumps(status_of(root).as_dict(), indent=2))
    elif report.is_done:
        console.print(f"Done: {report.snapshot.finished} trials. Results lie in {root}", soft_wrap=True)
    else:
        console.print(f"Stopped before the end; continue with: foretune resume {root}", soft_wrap=True)
    return 0 if report.is_whole else Exit.STOPPED_EARLY


def status(root: Root, address: ServerAddress = None, as_json: AsJson = False) -> int:
    """Show where a sweep stands, also while it runs: from its folder, or a submitted one's from its job."""
    state: SweepStatus | RemoteStatus
    if address is not None:
        from orchestrator.app.remote.submission import remote_status

        state = remote_status(address, root)
    else:
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


def reproduce(
    trial: Annotated[str, typer.Argument(metavar="TRIAL", help="A trial's id, or the beginning of it.")],
    root: Annotated[Path, typer.Option(metavar="ROOT", help="The sweep that it belongs to.")],
    address: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="A running Ray cluster; left out: here, without Ray."),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(metavar="N", help="Train and compare the first N epochs only.")
    ] = None,
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep the second run there; else it is removed.")
    ] = None,
    tolerance: Annotated[
        float, typer.Option(metavar="X", help="Differences up to X count as round-off of another machine.")
    ] = 1e-3,
    as_json: AsJson = False,
) -> int:
    """Run one trial again and compare its curve, epoch by epoch.

    On the same kind of CPU the numbers are equal bit for bit. Where they are not, what else differs is named:
    code, packages, device. A trial that failed is run until it fails alike.
    """
    from orchestrator.app.reproduce import reproduce as run_again

    console = screen(quiet=as_json)
    found = run_again(
        root, trial, address=address, epochs=epochs, keep=keep, tolerance=tolerance, console=console
    )
    if as_json:
        typer.echo(json.dumps(found.as_dict(), indent=2))
    else:
        console.print(found.render())
    return 0 if found.ok else Exit.NO
