"""Opening a root: from what the last process left on disk to a ledger's state.

May itself be cut at any point and begun again. Parts before the first segment are sealed and only their keys
are read; every segment is replayed, its torn tail cut, and its parts are written anew from it. One that has a
successor is sealed: its parts are made whole, then it is removed.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.contracts import CorruptLedgerError, Outcome
from orchestrator.metadataset.durable import Fault, make_folder_durably, remove_durably, sync_folder
from orchestrator.metadataset.index import AttemptEvent, TrialIndex
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.parts import count_part, read_part
from orchestrator.metadataset.schema import Table
from orchestrator.metadataset.segments import (
    PartRows,
    SegmentContent,
    SegmentWriter,
    end_at,
    read_segment,
)
from orchestrator.metadataset.tail import Tail

logger = logging.getLogger(__name__)

_NOTED: dict[Table, tuple[str, ...]] = {
    Table.ATTEMPTS: ("trial_id", "attempt", "event", "worker"),
    Table.TASKS: ("task_id",),
    Table.CURVES: ("trial_id", "attempt", "epoch", "train_s", "eval_s"),
    Table.TRIALS: ("trial_id", "attempt", "outcome", "epochs"),
}
"""Columns that the index takes note of."""
_POSITIONS = {table: [table.columns.index(name) for name in names] for table, names in _NOTED.items()}

_Parts = Mapping[Table, Mapping[int, Path]]


@dataclass(slots=True)
class Recovered:
    """A ledger's state."""

    number: int
    """Of the newest segment."""
    writer: SegmentWriter
    index: TrialIndex
    tail: Tail
    sealed: dict[Table, dict[int, int]]
    """Rows of each part before the newest segment's."""
    has_other_columns: bool
    """Whether the newest segment was begun by another release, and takes no more rows."""


def recover(layout: RootLayout, fault: Fault) -> Recovered:
    """Bring a root, new or left by any crash, to the state of its last commit.

    Args:
        layout: Names the files; the root is locked.
        fault: Called before and after every step that writes.

    Returns:
        The state; parts of the newest segment may lack rows that its tail has.

    Raises:
        CorruptLedgerError: What is on disk was not left by a crash.
        OSError: The system refused.
    """
    parts = {table: layout.parts(table) for table in Table}
    newest_part = max((number for numbers in parts.values() for number in numbers), default=-1)
    segments = layout.segments()
    if not segments:
        return _begin(layout, parts, newest_part + 1, fault)
    contents = _read_segments(layout, segments, newest_part)
    first, last = min(segments), max(segments)
    sealed = _check_sealed(layout, parts, first, contents[first].sealed)
    index = TrialIndex()
    _note_sealed(parts, first, index)
    tails = {number: _replay(layout, number, contents[number], index) for number in segments}
    # Nothing was written up to here: a root that can't be understood is left as it is.
    _clear(layout, fault)
    if contents[last].torn_bytes:
        logger.warning("torn commit cut path=%s bytes=%d", segments[last], contents[last].torn_bytes)
    end_at(segments[last], contents[last].whole_bytes, fault)
    for number in range(first, last):
        tails[number].publish(fault)
        record_sealed(sealed, number, tails[number])
        remove_durably(segments[number], fault=fault, name="sealed segment")
    writer = SegmentWriter(segments[last], fault)
    return Recovered(last, writer, index, tails[last], sealed, contents[last].has_other_columns)


def record_sealed(sealed: dict[Table, dict[int, int]], number: int, tail: Tail) -> None:
    """Take note of what the parts of a segment hold, now that it takes no more rows."""
    for table, count in tail.counts().items():
        sealed[table][number] = count


def _begin(layout: RootLayout, parts: _Parts, number: int, fault: Fault) -> Recovered:
    """Begin a log after the parts that are there: none in a new root."""
    index = TrialIndex()
    sealed = {table: {n: count_part(path) for n, path in parts[table].items()} for table in Table}
    _note_sealed(parts, number, index)
    _clear(layout, fault)
    writer = SegmentWriter.create(layout, number, sealed, fault)
    return Recovered(number, writer, index, Tail(layout, number), sealed, has_other_columns=False)


def _clear(layout: RootLayout, fault: Fault) -> None:
    """Make the folders that are missing, and remove what was begun aside."""
    for table in Table:
        make_folder_durably(layout.table_dir(table), fault=fault)
        # A process that died between a rename and its fsync left a name that is not durable yet.
        sync_folder(layout.table_dir(table))
    sync_folder(layout.ledger_dir)
    for path in layout.asides():
        remove_durably(path, fault=fault, name="leftover")


def _read_segments(
    layout: RootLayout, segments: Mapping[int, Path], newest_part: int
) -> dict[int, SegmentContent]:
    first, last = min(segments), max(segments)
    if list(segments) != list(range(first, last + 1)):
        raise CorruptLedgerError(
            str(layout.ledger_dir), f"of the segments {first} to {last} some are missing"
        )
    if newest_part > last:
        reason = f"part {newest_part} is newer than the newest segment, {last}"
        raise CorruptLedgerError(str(layout.ledger_dir), reason)
    contents = {number: read_segment(path, number) for number, path in segments.items()}
    for number in range(first, last):
        if contents[number].torn_bytes:
            reason = f"its last {contents[number].torn_bytes} bytes are damaged"
            raise CorruptLedgerError(str(segments[number]), reason)
    return contents


def _check_sealed(
    layout: RootLayout, parts: _Parts, before: int, expected: PartRows
) -> dict[Table, dict[int, int]]:
    """Compare the parts before a segment with what its header says; return how many rows each holds."""
    sealed: dict[Table, dict[int, int]] = {}
    for table in Table:
        wanted = expected.get(table, {})
        found = {number: count_part(path) for number, path in parts[table].items() if number < before}
        for number in sorted(wanted.keys() | found.keys()):
            path, rows, due = str(layout.part(table, number)), found.get(number), wanted.get(number)
            if rows is None:
                raise CorruptLedgerError(path, f"it is missing, with its {due} rows")
            if rows != due:
                wrote = "nothing" if due is None else f"{due} rows"
                raise CorruptLedgerError(path, f"it holds {rows} rows, the ledger wrote {wrote}")
        sealed[table] = found
    return sealed


def _note_sealed(parts: _Parts, before: int, index: TrialIndex) -> None:
    """Note the keys of all parts before a segment."""
    for table, numbered in parts.items():
        for number, path in numbered.items():
            if number < before:
                rows = read_part(path, _NOTED[table])
                columns = [rows.column(name).to_pylist() for name in _NOTED[table]]
                _note_all(table, zip(*columns, strict=True), index, path)


def _replay(layout: RootLayout, number: int, content: SegmentContent, index: TrialIndex) -> Tail:
    tail = Tail(layout, number)
    for table, row in content.rows:
        _note_all(table, [[row[i] for i in _POSITIONS[table]]], index, layout.segment(number))
        tail.add(table, row)
    for table in Table:
        _take_over(table, tail)
    return tail


def _note_all(table: Table, rows: Iterable[Iterable[Any]], index: TrialIndex, path: Path) -> None:
    note = _note(table, index)
    try:
        for values in rows:
            note(*values)
    except ValueError as err:
        raise CorruptLedgerError(str(path), str(err)) from err


def _note(table: Table, index: TrialIndex) -> Callable[..., None]:
    match table:
        case Table.ATTEMPTS:
            return lambda trial_id, attempt, event, worker: index.note_event(
                trial_id, attempt, AttemptEvent(event), worker
            )
        case Table.TASKS:
            return index.note_task
        case Table.CURVES:
            return index.note_point
        case Table.TRIALS:
            return lambda trial_id, attempt, outcome, epochs: index.note_result(
                trial_id, attempt, Outcome(outcome), epochs
            )


def _take_over(table: Table, tail: Tail) -> None:
    """Let the tail go on with the part that is there; one that can't be read is made anew from the log.

    Args:
        table: Whose part.
        tail: The segment's rows.

    Raises:
        CorruptLedgerError: The log lacks rows of the part: a part is published after they are logged.
    """
    part = tail.parts[table]
    if not part.path.exists():
        return
    try:
        rows = read_part(part.path).select(list(table.key))
    except CorruptLedgerError as err:
        logger.warning("part made anew from the log reason=%s", err)
        return
    logged = tail.arrow(table).select(list(table.key))
    if rows.num_rows > logged.num_rows or rows.to_pylist() != logged.slice(0, rows.num_rows).to_pylist():
        counts = f"it holds {rows.num_rows} rows, its log {logged.num_rows}"
        raise CorruptLedgerError(str(part.path), f"{counts}: the log lacks rows that were on disk")
    part.take_over()
