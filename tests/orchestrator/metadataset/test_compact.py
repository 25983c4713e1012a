"""A compact copy of a root: the same rows, a fraction of the bytes, whole or not at all, and still a root."""

from pathlib import Path

import pandas as pd
import pytest

from orchestrator.contracts import InputError
from orchestrator.metadataset.compact import compact
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.ledger import Ledger
from orchestrator.metadataset.reader import MetaDatasetReader
from orchestrator.metadataset.schema import Table
from orchestrator.metadataset.verify import compare, verify
from tests.orchestrator.metadataset.records import Crash, CrashAt, Sweep, a_trial

TRIALS = [a_trial(index) for index in range(12)]
PLAN = {trial.trial_id: trial.max_epochs for trial in TRIALS}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    Sweep(root, TRIALS[:9], seal_rows=20).run(CrashAt(None))
    layout = RootLayout(root)
    layout.revisions_dir.mkdir()
    layout.revision(0).write_text('{"spec": "name: x", "trials": {}}')
    layout.space_json.write_text("{}")
    layout.sweep_yaml.write_text("name: x")
    layout.worker_logs_dir.mkdir(parents=True)
    return root


def size_bytes(root: Path) -> int:
    return sum(path.stat().st_size for path in root.rglob("*.parquet"))


def test_the_copy_holds_the_same_rows_in_one_part_a_table_and_fewer_bytes(root: Path, tmp_path: Path) -> None:
    counts = compact(root, tmp_path / "copy")
    before, after = MetaDatasetReader(root), MetaDatasetReader(tmp_path / "copy")
    for table in Table:
        pd.testing.assert_frame_equal(before.table(table), after.table(table))
        assert counts[table] == len(after.table(table))
        assert len(RootLayout(tmp_path / "copy").parts(table)) == 1
        assert len(RootLayout(root).parts(table)) >= 1
    assert size_bytes(tmp_path / "copy") < size_bytes(root) / 2
    assert compare(root, tmp_path / "copy").ok
    assert verify(tmp_path / "copy", {trial.trial_id: trial.max_epochs for trial in TRIALS[:9]}).ok


def test_the_copy_keeps_spec_space_and_plan_and_drops_what_only_a_running_sweep_needs(
    root: Path, tmp_path: Path
) -> None:
    compact(root, tmp_path / "copy")
    kept = {path.relative_to(tmp_path / "copy").as_posix() for path in (tmp_path / "copy").rglob("*.*")}
    assert {"sweep.yaml", "space.json", "_ledger/revisions/0000.json"} <= kept
    assert not any(name.startswith(("logs", "checkpoints")) or name.endswith(".log") for name in kept)


def test_the_copy_can_be_continued(root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    compact(root, copy)
    Sweep(copy, TRIALS, seal_rows=20).run(CrashAt(None))
    assert verify(copy, PLAN).ok
    assert len(MetaDatasetReader(copy).trials()) == len(TRIALS)


def test_a_copy_cut_anywhere_is_no_copy_and_is_made_again(root: Path, tmp_path: Path) -> None:
    points: list[str] = []
    compact(root, tmp_path / "dry", fault=points.append)
    for place in range(len(points)):
        with pytest.raises(Crash):
            compact(root, tmp_path / f"copy-{place}", fault=CrashAt(place))
        renamed = points[place] == "compact: after rename"
        assert (tmp_path / f"copy-{place}").exists() == renamed, points[place]
        assert not list(tmp_path.glob(f".copy-{place}.*"))
    compact(root, tmp_path / "copy-0")
    assert compare(root, tmp_path / "copy-0").ok


def test_a_root_under_way_and_a_folder_that_is_full_are_refused(root: Path, tmp_path: Path) -> None:
    with Ledger.open(root), pytest.raises(InputError, match="is being written"):
        compact(root, tmp_path / "copy")
    with pytest.raises(InputError, match="is not empty"):
        compact(root, root)
    with pytest.raises(InputError, match="holds no sweep"):
        compact(tmp_path, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_rows_that_are_in_no_part_yet_are_not_left_behind(root: Path, tmp_path: Path) -> None:
    layout = RootLayout(root)
    newest = max(layout.parts(Table.CURVES))
    layout.part(Table.CURVES, newest).unlink()  # as if the driver had died between its log and the part
    with pytest.raises(InputError, match=r"rows that its driver died before it published; `foretune resume"):
        compact(root, tmp_path / "copy")
