"""Where commands print for people."""

import shutil

from rich.console import Console

_WIDTH_WITHOUT_TERMINAL = 120


def screen(*, quiet: bool = False) -> Console:
    """Return a console as wide as the terminal, or wide enough for our tables where there is none."""
    if Console().is_terminal:
        return Console(quiet=quiet)
    return Console(quiet=quiet, width=max(_WIDTH_WITHOUT_TERMINAL, shutil.get_terminal_size().columns))
