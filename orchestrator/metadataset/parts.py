"""Part files: Parquet that never changes once sealed, and that only grows while it is its table's newest.

A reader may keep a footer while the file under it is replaced: DuckDB opens a file once for the footer and
again for the rows. So each version of a part begins with all bytes of the one before, footer excepted: what
an older footer points to is still there. Small row groups are written together again behind the others, and
the bytes of those they replace stay, unused.

Parquet has checksums for the values in its pages, and none for page headers and the footer: a flipped bit
there can rename a column or change a value unseen. So the four bytes before the footer, at which no reader
looks, hold a checksum of all others.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.contracts import CorruptLedgerError
from orchestrator.metadataset.durable import Fault, write_durably
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.schema import SCHEMA_VERSION, VERSION_KEY, Table

SMALL_ROWS = 1024
"""A row group with fewer rows is small."""
MAX_SMALL = 32
"""So many small row groups are written together; each costs about a kilobyte and a reader's time."""
_MAGIC = b"PAR1"
_FOOTER_END_BYTES = 8
"""Length of the footer, four bytes, and the magic word."""
_CHECKSUM_BYTES = 4


@dataclass(frozen=True, slots=True)
class _Unit:
    """Row groups that were written, or taken over, together."""

    footer: pq.FileMetaData
    rows: int


class GrowingPart:
    """The newest part of a table.

    Args:
        layout: Names the files.
        table: Whose part.
        number: Its number.
    """

    def __init__(self, layout: RootLayout, table: Table, number: int) -> None:
        self.path = layout.part(table, number)
        self._aside = layout.part_aside(table, number)
        self._name = f"{table} part"
        self._columns = list(table.columns)
        self._body = _MAGIC
        self._units: tuple[_Unit, ...] = ()

    @property
    def exists(self) -> bool:
        """Whether the file was written or taken over."""
        return bool(self._units)

    @property
    def rows(self) -> int:
        """Rows that readers see."""
        return sum(unit.rows for unit in self._units)

    @property
    def size_bytes(self) -> int:
        """Bytes of the file without its footer."""
        return len(self._body)

    def take_over(self) -> None:
        """Go on with the file that an earlier process left, which can be read.

        One with other columns, of an earlier release, keeps its bytes for whoever is reading it; all its rows
        are written again behind them.

        Raises:
            OSError: The system refused.
        """
        content = self.path.read_bytes()
        footer_bytes = int.from_bytes(content[-_FOOTER_END_BYTES : -len(_MAGIC)], "little")
        footer = pq.read_metadata(pa.BufferReader(content))
        self._body = content[: -_FOOTER_END_BYTES - footer_bytes]
        if footer.schema.names == self._columns:
            self._units = (_Unit(footer, footer.num_rows),)

    def publish(self, rows: pa.Table, fault: Fault) -> None:
        """Replace the file in one step; a reader sees the rows that were there, or all these.

        Args:
            rows: All rows of the part, beginning with those that are there.
            fault: Called before and after every step.

        Raises:
            OSError: The system refused; the file holds what it held, or these rows.
        """
        kept = [unit for unit in self._units if unit.rows > 0]
        small = 0
        while small < len(kept) and kept[-1 - small].rows < SMALL_ROWS:
            small += 1
        if small >= MAX_SMALL:
            del kept[-small:]
        fresh = rows.slice(sum(unit.rows for unit in kept))
        body, footer = _append(self._body, fresh)
        units = (*kept, _Unit(footer, fresh.num_rows))
        content = _sealed(body, _footer([unit.footer for unit in units]))
        write_durably(self.path, content, aside=self._aside, fault=fault, name=self._name)
        self._body, self._units = body, units


def _append(body: bytes, rows: pa.Table) -> tuple[bytes, pq.FileMetaData]:
    """Write a row group behind a body; return the longer body, and a footer that knows the new group only."""
    sink = pa.BufferOutputStream()
    footers: list[pq.FileMetaData] = []
    # Neither statistics nor dictionaries: together they triple a group of few rows and gain nothing here.
    with pq.ParquetWriter(
        sink,
        rows.schema,
        compression="zstd",
        use_dictionary=False,
        write_statistics=False,
        write_page_checksum=True,
        metadata_collector=footers,
    ) as writer:
        sink.write(body[sink.tell() :])
        writer.write_table(rows)
        size_bytes = sink.tell()
    return sink.getvalue().to_pybytes()[:size_bytes], footers[0]


def _footer(footers: Sequence[pq.FileMetaData]) -> bytes:
    """Return one footer for the row groups of several, its length and the magic word behind it."""
    # Read back: appending changes the first, which must stay as it is.
    merged = pq.read_metadata(pa.BufferReader(_serialised(footers[0])))
    for footer in footers[1:]:
        merged.append_row_groups(footer)
    return _serialised(merged)[len(_MAGIC) :]


def _serialised(footer: pq.FileMetaData) -> bytes:
    sink = pa.BufferOutputStream()
    footer.write_metadata_file(sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _sealed(body: bytes, footer: bytes) -> bytes:
    """Return a file's content: a checksum of both stands between them."""
    return body + _checksum(body, footer) + footer


def _checksum(body: bytes, footer: bytes) -> bytes:
    return zlib.crc32(footer, zlib.crc32(body)).to_bytes(_CHECKSUM_BYTES, "little")


def _read(path: Path) -> pa.BufferReader:
    """Read a part whole, and check that no byte of it has changed since it was written.

    Args:
        path: The part.

    Returns:
        Its content.

    Raises:
        CorruptLedgerError: A byte has changed.
        OSError: The system refused.
    """
    content = path.read_bytes()
    footer_bytes = int.from_bytes(content[-_FOOTER_END_BYTES : -len(_MAGIC)], "little")
    footer_at = len(content) - _FOOTER_END_BYTES - footer_bytes
    body_end = footer_at - _CHECKSUM_BYTES
    if body_end < len(_MAGIC):
        raise CorruptLedgerError(str(path), "it can't be read as Parquet (its end is damaged)")
    found, due = content[body_end:footer_at], _checksum(content[:body_end], content[footer_at:])
    # Parts made before there was a checksum have the magic word in its place.
    if found not in (due, _MAGIC):
        raise CorruptLedgerError(str(path), "it can't be read as Parquet (its checksum does not hold)")
    return pa.BufferReader(content)


def read_part(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a part, checking that it is as it was written.

    Args:
        path: The part.
        columns: Names of columns; None: all.

    Returns:
        Its rows, in order.

    Raises:
        CorruptLedgerError: It can't be read, or was written by a newer version.
    """
    try:
        with pq.ParquetFile(_read(path), page_checksum_verification=True) as file:
            version = int((file.schema_arrow.metadata or {}).get(VERSION_KEY, b"0"))
            if version > SCHEMA_VERSION:
                raise CorruptLedgerError(
                    str(path), f"it is of schema version {version}, newer than this program"
                )
            return file.read(columns=None if columns is None else list(columns))
    except (pa.ArrowException, OSError) as err:
        raise CorruptLedgerError(str(path), f"it can't be read as Parquet ({err})") from err


def count_part(path: Path) -> int:
    """Return how many rows a part says it holds; raises ``CorruptLedgerError`` if it can't be read."""
    try:
        return int(pq.read_metadata(_read(path)).num_rows)
    except (pa.ArrowException, OSError) as err:
        raise CorruptLedgerError(str(path), f"it can't be read as Parquet ({err})") from err
