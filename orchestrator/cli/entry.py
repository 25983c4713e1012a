"""Where the ``foretune`` command begins: before anything else is imported, what takes longest is begun."""

import sys
from collections.abc import Sequence

from workers.standby import Standby

_MEASURING = "workers.metafeatures.aside"
"""Named here, not imported: importing it takes part of the time that is to be saved."""
_NOT_MEASURED = ("--features", "--base-model", "--help", "-h")
"""Options of ``recommend`` with which no task is measured, or not always."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name; None: those of the process.

    Returns:
        The exit code; see ``foretune --help``.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    standby = Standby(_MEASURING) if measures(arguments) else None
    if standby is not None:
        # LightGBM imports it where it is found, for an interface that nothing here uses.
        sys.modules["sklearn"] = None  # type: ignore[assignment]
    try:
        from orchestrator.cli.main import main as run

        return run(arguments, standby=standby)
    finally:
        if standby is not None:
            standby.end()


def measures(arguments: Sequence[str]) -> bool:
    """Return whether a command will most likely have a task measured.

    Args:
        arguments: Without the program's name.

    Returns:
        True for ``recommend`` with a task; a task that turns out to be on record is not measured after all.
    """
    commands = [argument for argument in arguments if not argument.startswith("-")]
    given = {argument.partition("=")[0] for argument in arguments}
    return commands[:1] == ["recommend"] and len(commands) > 1 and given.isdisjoint(_NOT_MEASURED)
