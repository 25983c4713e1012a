"""Disks that lie, people who tidy up: each ends in a sentence, and put right goes on with nothing lost."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.contracts import CorruptLedgerError
from orchestrator.metadataset.frames import encode_frame, scan_frames
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.ledger import Ledger
from orchestrator.metadataset.parts import read_part
from orchestrator.metadataset.schema import SCHEMA_VERSION, Table
from orchestrator.metadataset.verify import compare, verify
from tests.orchestrator.metadataset.records import CrashAt, Sweep, a_trial, keys

TRIALS = [a_trial(index) for index in range(6)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four of six trials are done: part 0 is sealed, segment 1 is open."""
    root = tmp_path / "root"
    Sweep(root, TRIALS[:4], seal_rows=7).run(CrashAt(None))
    layout = RootLayout(root)
    assert list(layout.segments()) == [1]
    assert list(layout.parts("curves")) == [0, 1]
    return root


def refusal(root: Path) -> str:
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and path.name != "lock"}
    with pytest.raises(CorruptLedgerError) as caught:
        Ledger.open(root)
    after = {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and path.name != "lock"}
    assert after == before
    assert not verify(root).ok
    return str(caught.value)


def check_goes_on(root: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    Sweep(whole, TRIALS).run(CrashAt(None))
    Sweep(root, TRIALS, seal_rows=7).run(CrashAt(None))
    for certificate in (
        verify(root, planned={t.trial_id: t.max_epochs for t in TRIALS}),
        compare(root, whole),
    ):
        assert certificate.ok, certificate.render()


def test_truncated_segment_is_told_by_the_rows_that_readers_saw(root: Path, tmp_path: Path) -> None:
    segment = RootLayout(root).segment(1)
    whole = segment.read_bytes()
    segment.write_bytes(whole[: len(whole) // 2])
    assert "the log lacks rows that were on disk; restore the file from a copy" in refusal(root)
    segment.write_bytes(whole)
    check_goes_on(root, tmp_path)


def test_segment_moved_away_costs_nothing_that_was_published(root: Path, tmp_path: Path) -> None:
    before = keys(root)
    shutil.move(RootLayout(root).segment(1), tmp_path / "moved")
    check_goes_on(root, tmp_path)
    assert keys(root)[: len(before)] == before


@pytest.mark.parametrize("table", [Table.CURVES, Table.ATTEMPTS])
def test_sealed_part_with_flipped_bytes_is_told_by_name(root: Path, tmp_path: Path, table: Table) -> None:
    part = RootLayout(root).part(table, 0)
    whole = part.read_bytes()
    spoilt = bytearray(whole)
    spoilt[60] ^= 0xFF
    part.write_bytes(bytes(spoilt))
    assert f"{part}: it can't be read as Parquet" in refusal(root)
    part.write_bytes(whole)
    check_goes_on(root, tmp_path)


def test_newest_part_with_flipped_bytes_is_made_anew_from_the_log(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    part = RootLayout(root).part("curves", 1)
    spoilt = bytearray(part.read_bytes())
    spoilt[60] ^= 0xFF
    part.write_bytes(bytes(spoilt))
    assert not verify(root).ok
    check_goes_on(root, tmp_path)
    assert "made anew from the log" in caplog.text


@pytest.fixture(scope="module")
def module_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("module") / "root"
    Sweep(root, TRIALS[:4], seal_rows=7).run(CrashAt(None))
    return root


def tables(root: Path) -> dict[Table, pa.Table]:
    return {
        table: pa.concat_tables(map(read_part, RootLayout(root).parts(table).values())) for table in Table
    }


@pytest.mark.parametrize("table", list(Table))
@settings(max_examples=25, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_one_flipped_bit_of_a_part_is_noticed(
    module_root: Path, tmp_path_factory: pytest.TempPathFactory, table: Table, place: float, bit: int
) -> None:
    """Also one of a page header or of the footer, for which Parquet has no checksum."""
    root = tmp_path_factory.mktemp("flipped") / "root"
    shutil.copytree(module_root, root)
    for number, part in RootLayout(root).parts(table).items():
        whole = part.read_bytes()
        spoilt = bytearray(whole)
        spoilt[int(place * len(whole))] ^= 1 << bit
        part.write_bytes(bytes(spoilt))
        if number == 0:
            assert f"{part}: it can't be read as Parquet" in refusal(root)
            part.write_bytes(whole)
        else:
            assert not verify(root).ok
            Ledger.open(root).close()
    assert tables(root) == tables(module_root)


@settings(max_examples=25, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_one_flipped_bit_of_a_segment_whose_rows_were_shown_is_noticed(
    module_root: Path, tmp_path_factory: pytest.TempPathFactory, place: float, bit: int
) -> None:
    root = tmp_path_factory.mktemp("flipped") / "root"
    shutil.copytree(module_root, root)
    segment = RootLayout(root).segment(1)
    spoilt = bytearray(segment.read_bytes())
    spoilt[int(place * len(spoilt))] ^= 1 << bit
    segment.write_bytes(bytes(spoilt))
    assert str(root) in refusal(root)


@pytest.mark.parametrize("damage", ["flipped", "missing"])
def test_damaged_part_of_a_segment_that_still_stands_is_made_anew_before_the_segment_goes(
    tmp_path: Path, damage: str
) -> None:
    """As after a crash between the beginning of a segment and the removal of the one before it."""
    root = tmp_path / "root"
    Sweep(root, TRIALS[:4], seal_rows=10**6).run(CrashAt(None))
    layout = RootLayout(root)
    segment = layout.segment(0).read_bytes()
    Ledger.open(root, seal_rows=1).close()
    assert list(layout.segments()) == [1]
    layout.segment(0).write_bytes(segment)
    part = layout.part("curves", 0)
    if damage == "missing":
        part.unlink()
    else:
        part.write_bytes(part.read_bytes()[:60] + b"?" + part.read_bytes()[61:])
    Ledger.open(root).close()
    assert list(layout.segments()) == [1]
    check_goes_on(root, tmp_path)


def test_sealed_part_that_is_missing_or_is_anothers_is_told_by_name(root: Path, tmp_path: Path) -> None:
    part = RootLayout(root).part("curves", 0)
    whole = part.read_bytes()
    part.unlink()
    assert f"{part}: it is missing, with its 9 rows" in refusal(root)
    shutil.copy(RootLayout(root).part("curves", 1), part)
    refusal(root)
    part.write_bytes(whole)
    shutil.copy(part, RootLayout(root).part("curves", 7))
    assert "part 7 is newer than the newest segment, 1" in refusal(root)
    RootLayout(root).part("curves", 7).unlink()
    check_goes_on(root, tmp_path)


def test_segment_under_a_wrong_name_and_a_gap_in_their_numbers_are_told(root: Path) -> None:
    layout = RootLayout(root)
    shutil.copy(layout.segment(1), layout.segment(2))
    assert "it is segment 1, not 2" in refusal(root)
    layout.segment(2).rename(layout.segment(3))
    assert "of the segments 1 to 3 some are missing" in refusal(root)


def test_segment_of_a_newer_version_is_refused(root: Path) -> None:
    segment = RootLayout(root).segment(1)
    header, *commits = scan_frames(segment.read_bytes()).payloads
    newer = json.loads(header) | {"version": SCHEMA_VERSION + 1}
    frames = [encode_frame(json.dumps(newer).encode()), *map(encode_frame, commits)]
    segment.write_bytes(b"".join(frames))
    assert "newer than this program" in refusal(root)


def test_segment_of_an_older_version_with_other_columns_is_read_by_their_names(
    root: Path, tmp_path: Path
) -> None:
    segment = RootLayout(root).segment(1)
    header, *commits = (json.loads(payload) for payload in scan_frames(segment.read_bytes()).payloads)
    columns = header["columns"]["curves"]
    dropped = columns.index("cpu_s")
    header["columns"]["curves"] = [*columns[:dropped], *columns[dropped + 1 :]][::-1]
    for commit in commits:
        for table, row in commit:
            if table == "curves":
                row[:] = [*row[:dropped], *row[dropped + 1 :]][::-1]
    segment.write_bytes(b"".join(encode_frame(json.dumps(item).encode()) for item in (header, *commits)))
    check_goes_on(root, tmp_path)


def test_row_that_contradicts_the_rows_before_it_is_told(root: Path) -> None:
    segment = RootLayout(root).segment(1)
    contents = segment.read_bytes()
    last = scan_frames(contents).payloads[-1]
    segment.write_bytes(contents + encode_frame(last))
    assert "has two outcomes, completed and completed" in refusal(root)


def test_leftovers_of_parts_and_segments_are_cleared_and_other_files_kept(root: Path) -> None:
    layout = RootLayout(root)
    others = [
        layout.ledger_dir / ".plan.json.tmp",
        layout.ledger_dir / "notes.tmp",
        root / "curves" / ".keep",
    ]
    for path in (*others, layout.part_aside("curves", 3), layout.segment_aside(2)):
        path.write_text("x")
    Ledger.open(root).close()
    assert not layout.asides()
    assert all(path.exists() for path in others)
