"""One writer a root: a lock of the operating system's that dies with its process.

It is an ``flock``, so ``kill -9`` leaves nothing to clean; the file stays, and holds a line for people that
says who took it last. A child made by ``fork`` lets go of its copy: it must not keep the root locked after
its parent.
"""

import fcntl
import os
import socket
import time
import weakref
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from orchestrator.contracts import RootInUseError

_TRIES = 10
_PAUSE_S = 0.02
"""``is_held`` takes the lock for a moment; a writer that comes at that moment tries again."""


class RootLock:
    """The right to write to a root, held until ``release`` or the process's end.

    Args:
        path: The lock file; its folder exists.
        root: What is locked, for messages.

    Raises:
        RootInUseError: Another process, or another lock of this one, holds it.
        OSError: The file can't be opened for writing.
    """

    def __init__(self, path: Path, root: Path) -> None:
        self._file: IO[str] = open(path, "a+")  # noqa: SIM115 - held for the lock's life
        for left in reversed(range(_TRIES)):
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if left == 0:
                    self._file.close()
                    raise RootInUseError(str(root), _holder(path)) from None
                time.sleep(_PAUSE_S)
        self._file.truncate(0)
        since = datetime.now(UTC).isoformat(timespec="seconds")
        self._file.write(f"process {os.getpid()} on {socket.gethostname()} since {since}\n")
        self._file.flush()
        _held.add(self)

    def release(self) -> None:
        """Let the next writer in; harmless when done already."""
        if not self._file.closed:
            fcntl.flock(self._file, fcntl.LOCK_UN)
            self._file.close()

    def forget(self) -> None:
        """Close this process's copy and leave the lock to the process that it was forked from."""
        self._file.close()


def is_held(path: Path) -> bool:
    """Return whether a process holds the lock; needs no right to write."""
    try:
        with open(path) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def holder_of(path: Path) -> str | None:
    """Return who holds the lock, in words for people, or None if no process does."""
    return _holder(path) if is_held(path) else None


def _holder(path: Path) -> str:
    return path.read_text(errors="replace").strip() or "another process"


def _forget_all() -> None:
    for lock in list(_held):
        lock.forget()


_held: "weakref.WeakSet[RootLock]" = weakref.WeakSet()
os.register_at_fork(after_in_child=_forget_all)
