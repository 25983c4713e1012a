"""The command that kills."""

import json
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.app.exits import Exit
from orchestrator.cli.options import AsJson

if TYPE_CHECKING:
    from orchestrator.app.torture.execution import Deed


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command(epilog="Example: `foretune torture --kills 40 --seed 7`")(torture)


def torture(
    kills: Annotated[int, typer.Option(min=1, help="Kills, over workers, nodes, driver and head.")] = 40,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Draws kills and pauses; left out: a new one, printed first.")
    ] = None,
    nodes: Annotated[int, typer.Option(min=1, help="Nodes of the local cluster, two workers each.")] = 3,
    trials: Annotated[
        int | None,
        typer.Option(min=1, help="Trials of the sweep; left out: enough to last until the last kill."),
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of each trial.")] = 10,
    epoch_s: Annotated[float, typer.Option("--epoch-s", help="Seconds that an epoch takes.")] = 0.05,
    root: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="New folder for both sweeps; left out: ./runs/torture-SEED."),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Kill whatever a sweep runs on, at random times, and prove that nothing of it is lost.

    A Ray cluster of several nodes is started on this machine. The same light trials run twice: once left
    alone, once while workers, nodes, the driver and the head are killed with SIGKILL. Ends with 0 and a
    certificate if every kill hit, the tortured sweep verifies, and both hold the same results bit for bit.
    """
    from orchestrator.app.torture.torture import QuietSweepFailedError, TortureTerms
    from orchestrator.app.torture.torture import torture as run

    drawn = seed if seed is not None else secrets.randbelow(2**32)
    typer.echo(f"seed {drawn}", err=as_json)
    terms = TortureTerms(seed=drawn, kills=kills, nodes=nodes, trials=trials, epochs=epochs, epoch_s=epoch_s)
    done = 0

    def say(deed: "Deed") -> None:
        nonlocal done
        done += 1
        typer.echo(f"  {done:4}/{kills}  {deed.at_s:7.1f} s  {deed.target} killed", err=as_json)

    folder = root or Path("runs") / f"torture-{drawn}"
    try:
        certificate = run(terms, folder, on_stage=lambda stage: typer.echo(stage, err=as_json), on_deed=say)
    except KeyboardInterrupt:
        typer.echo(f"interrupted; everything that was started has ended. Logs lie in {folder}/logs", err=True)
        return Exit.INTERRUPTED
    except QuietSweepFailedError as err:
        typer.echo(f"foretune: {err}", err=True)
        return 1
    if as_json:
        typer.echo(json.dumps(certificate.as_dict(), indent=2))
    else:
        typer.echo(certificate.render())
        typer.echo(f"Certificate, both sweeps and the drivers' logs lie in {folder}")
    return 0 if certificate.ok else 1
