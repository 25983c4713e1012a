"""Where a row comes from: the code, the libraries, the worker's machine, the revision of its data."""

import functools
import subprocess
from collections.abc import Mapping

from workers.software import CHECKOUT, software

WORKER = "worker."
"""What is before the names of a worker's own facts."""
_ALWAYS_SAID = ("host", "device", "threads")
"""Facts of a worker that are kept whatever they are; others where they differ from the driver's."""


@functools.cache
def provenance() -> Mapping[str, str]:
    """Return the driver's code, its commit and digest, and the versions of what its numbers depend on."""
    return {**software(), "commit": _commit()}


def trial_provenance(worker: Mapping[str, str], data_revision: str | None) -> Mapping[str, str]:
    """Return what the row of a finished trial says of where it comes from.

    Args:
        worker: What the worker that ended it said of itself; empty where no worker did.
        data_revision: Commit of the hub data set that the task was read from; None for other tasks.

    Returns:
        The driver's provenance; ``worker.NAME`` for the worker's host, device and threads, and for every
        version or digest in which it differs from the driver; ``data_revision`` if there is one.
    """
    driver = provenance()
    own = {
        WORKER + name: value
        for name, value in worker.items()
        if name in _ALWAYS_SAID or (name in driver and value != driver[name])
    }
    data = {} if data_revision is None else {"data_revision": data_revision}
    return {**driver, **own, **data}


def _commit() -> str:
    """Return the checkout's commit, marked where files differ from it; ``unknown`` outside a checkout."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(CHECKOUT), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    try:
        dirty = "+changes" if git("status", "--porcelain", "--untracked-files=no") else ""
        return git("rev-parse", "HEAD") + dirty
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
