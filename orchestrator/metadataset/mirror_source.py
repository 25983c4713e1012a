"""What of a root a mirror shows, read while the root is written.

Rows refer to rows of tables before theirs. So tables are read last to first, each when the ones after it are
in memory already: whoever then writes them out first to last never shows a row before what it refers to.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.parts import read_part
from orchestrator.metadataset.schema import Table

Stamp = tuple[int, int, int]
"""A file's inode, size in bytes and time of change: it differs, in all likelihood, where the content does."""

_Reader = Callable[[str, Path, Stamp, bool], Callable[[], bytes]]
"""Given a file's name, path and stamp and whether it is final: what reads it."""


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file that the mirror should show, as it was when it was looked at."""

    name: str
    """Its path under the root, with ``/``."""
    stamp: Stamp
    is_final: bool
    """Whether it is a sealed part, which never changes."""
    read: Callable[[], bytes]
    """Returns the content; of a file that may still change, what it was when the snapshot was made."""


def list_files(layout: RootLayout) -> list[LocalFile]:
    """Look at all files of a root that a mirror shows, without reading them.

    Args:
        layout: Names the files.

    Returns:
        The files, in the order in which a mirror may write them.

    Raises:
        OSError: The system refused.
    """
    return _files(layout, lambda name, path, stamp, is_final: path.read_bytes)


def snapshot(layout: RootLayout, wanted: Callable[[str, Stamp], bool]) -> list[LocalFile]:
    """Read files of a root such that no row is without the rows it refers to.

    Args:
        layout: Names the files.
        wanted: Given a name and a stamp, whether that file is of interest.

    Returns:
        The files of interest, in the order in which a mirror may write them. Sealed parts are not in memory.

    Raises:
        OSError: The system refused.
    """

    def reader(name: str, path: Path, stamp: Stamp, is_final: bool) -> Callable[[], bytes]:
        if is_final or not wanted(name, stamp):
            return path.read_bytes
        # Opened once and read whole: a version that is renamed over it meanwhile is another file.
        content = path.read_bytes()
        return lambda: content

    return [file for file in _files(layout, reader) if wanted(file.name, file.stamp)]


def birth(layout: RootLayout) -> str | None:
    """Return what tells a root's ledger from every other's: its first row; None before there is one.

    Args:
        layout: Names the files.

    Returns:
        A hash, which stays the same for the root's life, also if the root is moved.

    Raises:
        CorruptLedgerError: The part that holds the row can't be read.
    """
    parts = layout.parts(Table.ATTEMPTS)
    rows = read_part(parts[min(parts)]).slice(0, 1).to_pylist() if parts else []
    if not rows:
        return None
    row = {name: rows[0][name] for name in ("trial_id", "attempt", "event", "worker", "at")}
    return hashlib.sha256(repr(sorted(row.items())).encode()).hexdigest()


def _files(layout: RootLayout, reader: _Reader) -> list[LocalFile]:
    # First of all: what is sealed now was whole before any table is listed.
    segments = layout.segments()
    backwards: list[LocalFile] = []
    for table in reversed(Table):
        parts = layout.parts(table)
        newest = max(segments, default=max(parts, default=0))
        backwards += [_file(layout, parts[number], number < newest, reader) for number in reversed(parts)]
    specs = (path for path in (layout.sweep_yaml, layout.space_json) if path.is_file())
    backwards += [_file(layout, path, False, reader) for path in specs]
    return backwards[::-1]


def _file(layout: RootLayout, path: Path, is_final: bool, reader: _Reader) -> LocalFile:
    found = path.stat()
    # Before the content: a version that comes between the two is met again.
    stamp = (found.st_ino, found.st_size, found.st_mtime_ns)
    name = path.relative_to(layout.root).as_posix()
    return LocalFile(name=name, stamp=stamp, is_final=is_final, read=reader(name, path, stamp, is_final))
