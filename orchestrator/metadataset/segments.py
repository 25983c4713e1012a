"""Write-ahead segments: one ordered log for all tables, cut into files.

The rows of segment k become the parts k of all tables. A segment begins with a header (its number, the
columns of each table, how many rows each part before it holds) and goes on with commits. It is made when the
one before it is sealed, and removed when its own parts are whole and its successor stands.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.contracts import CorruptLedgerError
from orchestrator.metadataset.durable import Fault, write_durably
from orchestrator.metadataset.errors import CommitUnknownError, StorageError
from orchestrator.metadataset.frames import encode_frame, scan_frames
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.rows import Row
from orchestrator.metadataset.schema import SCHEMA_VERSION, Table

LogRow = tuple[Table, Row]
PartRows = Mapping[Table, Mapping[int, int]]
"""Rows of each part, by table and number."""


@dataclass(frozen=True, slots=True)
class SegmentContent:
    """A segment, read back."""

    rows: list[LogRow]
    """In the order in which they were committed."""
    sealed: PartRows
    """What the parts before this segment must hold; empty where that is not known."""
    whole_bytes: int
    torn_bytes: int
    """Behind the last whole commit: of a commit that never was."""
    has_other_columns: bool
    """Whether another release began it: rows of today's tables do not fit behind its header."""


def read_segment(path: Path, number: int) -> SegmentContent:
    """Read a segment; writes nothing.

    Args:
        path: The segment's file.
        number: The number it should have.

    Returns:
        Its rows, without those of a torn last commit.

    Raises:
        CorruptLedgerError: The file was damaged, or is not of this number or version.
    """
    content = path.read_bytes()
    scan = scan_frames(content)
    if scan.damaged_at is not None:
        raise CorruptLedgerError(
            str(path), f"the frame at byte {scan.damaged_at} is damaged, but later ones are whole"
        )
    if not scan.payloads:
        raise CorruptLedgerError(str(path), "its header is damaged")
    header, *commits = (json.loads(payload) for payload in scan.payloads)
    if header["version"] > SCHEMA_VERSION:
        raise CorruptLedgerError(
            str(path), f"it is of schema version {header['version']}, newer than this program"
        )
    if header["segment"] != number:
        raise CorruptLedgerError(str(path), f"it is segment {header['segment']}, not {number}")
    tables = {
        name: (Table(name), _order(Table(name), columns)) for name, columns in header["columns"].items()
    }
    return SegmentContent(
        rows=[(tables[name][0], _pick(row, tables[name][1])) for commit in commits for name, row in commit],
        sealed={
            Table(name): {int(part): rows for part, rows in counts.items()}
            for name, counts in header["sealed"].items()
        },
        whole_bytes=scan.whole_bytes,
        torn_bytes=len(content) - scan.whole_bytes,
        has_other_columns=any(order is not None for _, order in tables.values()),
    )


def _order(table: Table, columns: Sequence[str]) -> list[int | None] | None:
    """Return where in a logged row each of our columns lies; None if they lie in our order."""
    if tuple(columns) == table.columns:
        return None
    return [columns.index(name) if name in columns else None for name in table.columns]


def _pick(row: list[Any], order: list[int | None] | None) -> Row:
    return tuple(row) if order is None else tuple(None if i is None else row[i] for i in order)


def end_at(path: Path, whole_bytes: int, fault: Fault) -> None:
    """Remove what a crash left behind a segment's last whole commit, and make sure that the rest is on disk.

    The process that wrote the last commit may have died before its fsync; the commit counts from now on.

    Args:
        path: The segment's file.
        whole_bytes: Where its last whole commit ends.
        fault: Called before and after every step.

    Raises:
        OSError: The system refused.
    """
    fault("recovery: before cut")
    handle = os.open(path, os.O_RDWR)
    try:
        os.ftruncate(handle, whole_bytes)
        fault("recovery: before fsync of cut")
        os.fsync(handle)
    finally:
        os.close(handle)
    fault("recovery: cut")


class SegmentWriter:
    """Appends commits to one segment.

    Args:
        path: A whole segment without a torn tail.
        fault: Called before and after every step.

    Raises:
        OSError: The file can't be opened.
    """

    def __init__(self, path: Path, fault: Fault) -> None:
        self._path = path
        self._fault = fault
        self._handle = os.open(path, os.O_RDWR | os.O_APPEND)
        self.size_bytes = os.fstat(self._handle).st_size

    @classmethod
    def create(cls, layout: RootLayout, number: int, sealed: PartRows, fault: Fault) -> "SegmentWriter":
        """Make a segment without rows, in one step.

        Args:
            layout: Names its file, which does not exist.
            number: Its number.
            sealed: What the parts before it hold.
            fault: Called before and after every step.

        Returns:
            The writer of the new segment.

        Raises:
            OSError: The system refused.
        """
        header = {
            "version": SCHEMA_VERSION,
            "segment": number,
            "columns": {table: list(table.columns) for table in Table},
            "sealed": {table: dict(counts) for table, counts in sealed.items()},
        }
        path, aside = layout.segment(number), layout.segment_aside(number)
        write_durably(path, encode_frame(_json(header)), aside=aside, fault=fault, name="segment")
        return cls(path, fault)

    def append(self, rows: Sequence[LogRow]) -> None:
        """Write rows as one commit; when it returns they are on disk.

        Args:
            rows: At least one, in order.

        Raises:
            StorageError: Nothing was written; the same call may be made again.
            CommitUnknownError: The rows may be on disk or not; nothing further may be appended.
        """
        frame = encode_frame(_json(rows))
        self._fault("commit: before write")
        try:
            _write_all(self._handle, frame, self._fault)
        except OSError as err:
            self._take_back(err)
            raise StorageError(str(self._path), os.strerror(err.errno or 0)) from err
        self._fault("commit: before fsync")
        try:
            os.fsync(self._handle)
        except OSError as err:
            raise CommitUnknownError(str(self._path), os.strerror(err.errno or 0)) from err
        self._fault("commit: done")
        self.size_bytes += len(frame)

    def _take_back(self, cause: OSError) -> None:
        """Cut what a refused write left, so that the commit has not landed for sure."""
        try:
            os.ftruncate(self._handle, self.size_bytes)
        except OSError as err:
            raise CommitUnknownError(str(self._path), os.strerror(err.errno or 0)) from cause

    def close(self) -> None:
        """Close the file; harmless when done already."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def _write_all(handle: int, content: bytes, fault: Fault) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(handle, view) :]
        fault("commit: written")


def _json(content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":"), ensure_ascii=True).encode()
