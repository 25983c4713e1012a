"""The ``foretune`` command."""

import logging
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated

import click
import typer

from orchestrator.cli import data, surrogate, sweeps
from orchestrator.contracts import OrchestrationError

EXIT_CODES = """
Exit codes: 0 done; 1 the answer is no (verify found a fault, two sweeps differ); 2 bad input, nothing was
changed; 3 stopped before the end, resume continues; 130 interrupted.
"""

app = typer.Typer(
    name="foretune",
    help="Learn once from many finetuning runs, then tell anyone with a new task how to finetune.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
for module in (sweeps, surrogate, data):
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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name; None: those of the process.

    Returns:
        The exit code; see ``foretune --help``.
    """
    try:
        result = app(args=list(argv) if argv is not None else None, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as err:
        typer.echo(err.format_message())
        return 2
    except click.ClickException as err:
        err.show()
        return 2
    except (click.exceptions.Abort, KeyboardInterrupt):
        typer.echo("interrupted", err=True)
        return 130
    except OrchestrationError as err:
        typer.echo(f"foretune: {err}", err=True)
        return 2
    return result if isinstance(result, int) else 0
