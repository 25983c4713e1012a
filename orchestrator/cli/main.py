"""The ``foretune`` command."""

import logging
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated

import typer

from orchestrator.app.exits import Exit
from orchestrator.cli import (
    control,
    data,
    doctor,
    evaluation,
    interchange,
    report,
    space,
    surrogate,
    sweeps,
    torture,
    tune,
)
from orchestrator.contracts import OrchestrationError, SweepInterruptedError
from workers.standby import Standby

EXIT_CODES = """
Exit codes: 0 done; 1 the answer is no (verify found a fault, two sweeps differ, doctor found what will not
work); 2 bad input, nothing was changed; 3 stopped before the end, resume continues; 130 interrupted.
"""


def _exit_with(exit_code: int | None, **_options: object) -> None:
    """End with what a command returned; typer itself would end with 0."""
    raise typer.Exit(exit_code or 0)


app = typer.Typer(
    name="foretune",
    help="Learn once from many finetuning runs, then tell anyone with a new task how to finetune.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    result_callback=_exit_with,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
for module in (
    sweeps,
    control,
    surrogate,
    tune,
    evaluation,
    report,
    data,
    interchange,
    space,
    doctor,
    torture,
):
    module.register(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"foretune {version('foretune')}")
        raise typer.Exit


@app.callback()
def _options(
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log what happens, on standard error.")
    ] = False,
    _version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and end.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    level = logging.INFO if verbose else logging.ERROR
    logging.basicConfig(
        level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )


def main(argv: Sequence[str] | None = None, *, standby: Standby | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name; None: those of the process.
        standby: A process that can measure a task, for the command that needs one; its beginner ends it.

    Returns:
        The exit code; see ``foretune --help``.
    """
    try:
        app(args=list(argv) if argv is not None else None, prog_name="foretune", obj=standby)
    except SystemExit as err:
        return err.code if isinstance(err.code, int) else 0
    except SweepInterruptedError as err:
        typer.echo(f"foretune: {err}", err=True)
        return Exit.STOPPED_EARLY
    except OrchestrationError as err:
        typer.echo(f"foretune: {err}", err=True)
        return Exit.BAD_INPUT
    return 0
