from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.contracts import CorruptLedgerError
from orchestrator.metadataset.durable import make_folder_durably, no_fault
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.parts import MAX_SMALL, SMALL_ROWS, GrowingPart, count_part, read_part
from orchestrator.metadataset.rows import curve_row
from orchestrator.metadataset.schema import SCHEMA_VERSION, VERSION_KEY, Table
from orchestrator.metadataset.tail import arrow_table
from tests.orchestrator.metadataset.records import a_point, a_trial

ALL = arrow_table(Table.CURVES, [curve_row(a_point(a_trial(index), 1)) for index in range(3000)])


def a_part(folder: Path) -> GrowingPart:
    layout = RootLayout(folder)
    for table in Table:
        make_folder_durably(layout.table_dir(table))
    return GrowingPart(layout, Table.CURVES, 0)


def rows_of_footer(content: bytes, footer: bytes) -> pa.Table:
    """Read as someone who took the footer of an older version, and opens the file again for the rows."""
    kept = content[: len(content) - int.from_bytes(content[-8:-4], "little") - 8]
    return pq.read_table(pa.BufferReader(kept + footer))


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.booleans()), min_size=1, max_size=60))
def test_part_grows_and_footers_of_older_versions_still_find_their_rows(
    tmp_path_factory: pytest.TempPathFactory, growth: list[tuple[int, bool]]
) -> None:
    folder = tmp_path_factory.mktemp("root")
    part = a_part(folder)
    versions: list[tuple[int, bytes]] = []
    total = 0
    for added, is_restart in growth:
        if is_restart and part.exists:
            part = a_part(folder)
            part.take_over()
        total = min(total + added, ALL.num_rows)
        part.publish(ALL.slice(0, total), no_fault)
        content = part.path.read_bytes()
        versions.append((total, content[-8 - int.from_bytes(content[-8:-4], "little") :]))
        assert part.rows == count_part(part.path) == total
    assert read_part(part.path).equals(ALL.slice(0, total))
    for rows, footer in versions:
        assert rows_of_footer(content, footer).equals(ALL.slice(0, rows))


def test_small_row_groups_are_written_together_before_they_are_many(tmp_path: Path) -> None:
    part = a_part(tmp_path)
    for total in range(1, 2000, 9):
        part.publish(ALL.slice(0, total), no_fault)
        sizes = [pq.ParquetFile(part.path).metadata.row_group(i).num_rows for i in range(_groups(part))]
        assert sum(size < SMALL_ROWS for size in sizes) <= MAX_SMALL
    assert max(sizes) >= SMALL_ROWS
    assert read_part(part.path).equals(ALL.slice(0, total))
    found = duckdb.execute("select count(*), count(distinct trial_id) from read_parquet(?)", [str(part.path)])
    assert found.fetchall() == [(total, total)]


def _groups(part: GrowingPart) -> int:
    return int(pq.read_metadata(part.path).num_row_groups)


def test_byte_flipped_in_any_page_is_found(tmp_path: Path) -> None:
    part = a_part(tmp_path)
    part.publish(ALL.slice(0, 50), no_fault)
    whole = part.path.read_bytes()
    flips = range(40, part.size_bytes, 41)
    found = 0
    for at in flips:
        spoilt = bytearray(whole)
        spoilt[at] ^= 0x10
        part.path.write_bytes(bytes(spoilt))
        try:
            # A page header has bytes that may be flipped without harm; the rows must then be right.
            assert read_part(part.path).equals(ALL.slice(0, 50))
        except CorruptLedgerError:
            found += 1
    assert found > 0.9 * len(flips)


def test_part_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    part = a_part(tmp_path)
    newer = ALL.schema.with_metadata({VERSION_KEY: str(SCHEMA_VERSION + 1)})
    part.publish(ALL.slice(0, 3).cast(newer), no_fault)
    with pytest.raises(
        CorruptLedgerError, match=f"schema version {SCHEMA_VERSION + 1}, newer than this program"
    ):
        read_part(part.path)
