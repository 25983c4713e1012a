"""Asking a driver to stop, by a file in its root: works wherever the root can be seen."""

import time
from pathlib import Path

from orchestrator.app.roots import existing_spec
from orchestrator.contracts import InputError
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.lock import is_held

_LOOK_S = 0.5


class StopFile:
    """What a driver looks at to learn that it is to stop; one left by an earlier time is removed.

    Args:
        layout: Of the driver's root, which it holds.
    """

    def __init__(self, layout: RootLayout) -> None:
        self._path = layout.stop_file
        self._path.unlink(missing_ok=True)
        self._looked_at_s = 0.0
        self._is_there = False

    def is_there(self) -> bool:
        """Whether someone asked to stop, looking at the file system twice a second at most."""
        now_s = time.monotonic()
        if not self._is_there and now_s - self._looked_at_s >= _LOOK_S:
            self._looked_at_s = now_s
            self._is_there = self._path.exists()
        return self._is_there

    def remove(self) -> None:
        """Take the request back, for the next driver."""
        self._path.unlink(missing_ok=True)


def request_stop(root: Path) -> bool:
    """Ask the driver of a root to drain: it begins nothing more and leaves after the epochs in hand.

    Args:
        root: The sweep's folder.

    Returns:
        Whether a driver is at work there; otherwise nothing was done.

    Raises:
        InputError: The root holds no sweep, or can't be written.
    """
    existing_spec(root)
    layout = RootLayout(root)
    if not is_held(layout.lock_file):
        return False
    try:
        layout.stop_file.touch()
    except OSError as err:
        raise InputError(
            f"{layout.stop_file} can't be written ({err.strerror}); send the driver SIGTERM instead"
        ) from err
    return True


def wait_until_idle(root: Path, timeout_s: float) -> bool:
    """Wait until no driver holds a root.

    Args:
        root: The sweep's folder.
        timeout_s: Longest wait, in seconds.

    Returns:
        Whether it is free.
    """
    lock_file = RootLayout(root).lock_file
    deadline_s = time.monotonic() + timeout_s
    while is_held(lock_file):
        if time.monotonic() >= deadline_s:
            return False
        time.sleep(_LOOK_S)
    return True
