"""Writing that survives a crash: aside, fsync, rename, fsync of the folder.

Every step calls ``fault`` with its name. It does nothing in earnest; tests cut there, by an exception or by
the death of the process, and look at what stands on disk.
"""

import os
from collections.abc import Callable
from pathlib import Path

from orchestrator.metadataset.layout import aside as aside_of

Fault = Callable[[str], None]


def no_fault(point: str) -> None:
    """Let every step happen."""


def write_durably(
    path: Path, content: bytes, *, aside: Path | None = None, fault: Fault = no_fault, name: str = "file"
) -> None:
    """Replace a file's content in one step: whoever opens it sees the old or the new, also after a crash.

    Args:
        path: The file; its folder exists.
        content: The new content.
        aside: Where it is written first, on the same file system; None: a hidden name beside it.
        fault: Called before and after every step.
        name: What the steps are called.

    Raises:
        OSError: The system refused a step; the file holds its old content, or the new.
    """
    temporary = aside or aside_of(path)
    fault(f"{name}: before write")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            fault(f"{name}: before fsync")
            os.fsync(file.fileno())
        fault(f"{name}: before rename")
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    fault(f"{name}: before folder fsync")
    sync_folder(path.parent)
    fault(f"{name}: done")


def remove_durably(path: Path, *, fault: Fault = no_fault, name: str = "file") -> None:
    """Remove a file, if it is there, so that it does not come back after a crash.

    Args:
        path: The file.
        fault: Called before and after every step.
        name: What the steps are called.

    Raises:
        OSError: The system refused.
    """
    fault(f"{name}: before unlink")
    path.unlink(missing_ok=True)
    fault(f"{name}: before folder fsync after unlink")
    sync_folder(path.parent)
    fault(f"{name}: unlinked")


def make_folder_durably(path: Path, *, fault: Fault = no_fault, name: str = "folder") -> None:
    """Make a folder and those above it, unless they are there.

    Args:
        path: The folder.
        fault: Called before every step.
        name: What the steps are called.

    Raises:
        OSError: The system refused.
    """
    if path.is_dir():
        return
    make_folder_durably(path.parent, fault=fault, name=name)
    fault(f"{name}: before mkdir")
    path.mkdir(exist_ok=True)
    fault(f"{name}: before folder fsync")
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make a folder's entries durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
