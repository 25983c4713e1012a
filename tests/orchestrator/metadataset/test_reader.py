import multiprocessing
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.ledger import Ledger
from orchestrator.metadataset.reader import MetaDatasetReader
from orchestrator.metadataset.schema import Table
from tests.orchestrator.metadataset.records import (
    EPOCHS,
    WORKER,
    a_point,
    a_result,
    a_task,
    a_trial,
    committed,
)

Rows = list[tuple[object, ...]]


def test_root_that_holds_nothing_reads_as_empty_tables_of_the_right_columns(tmp_path: Path) -> None:
    reader = MetaDatasetReader(tmp_path / "not there")
    frames = [reader.attempts(), reader.tasks(expand=True), reader.curves(), reader.trials(expand=True)]
    for table, frame in zip(Table, frames, strict=True):
        assert (tuple(frame.columns), len(frame)) == (table.columns, 0)
    assert not (tmp_path / "not there").exists()
    assert reader.unpublished_rows() == 0


@pytest.mark.parametrize("table", list(Table))
def test_tables_of_a_new_root_can_be_read_by_folder_at_once(tmp_path: Path, table: Table) -> None:
    with Ledger.open(tmp_path):
        frame = pd.read_parquet(RootLayout(tmp_path).table_dir(table))
        assert (tuple(frame.columns), len(frame)) == (table.columns, 0)
        count = duckdb.execute(
            "select count(*) from read_parquet(?)", [f"{tmp_path}/curves/*.parquet"]
        ).fetchall()
        assert count == [(0,)]


def test_every_column_says_what_it_means_and_parts_their_version(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    Ledger.open(tmp_path).close()
    for table in Table:
        schema = pq.read_schema(RootLayout(tmp_path).part(table, 0))
        assert schema.metadata[b"foretune.schema_version"] == b"2"
        assert all(field.metadata[b"doc"] for field in schema)


def test_config_and_meta_features_unfold_to_columns_with_their_types(tmp_path: Path) -> None:
    with Ledger.open(tmp_path) as ledger:
        ledger.record_task(a_task(0))
        for index in range(2):
            ledger.grant(a_trial(index).trial_id, WORKER)
            ledger.record_result(a_result(a_trial(index), epochs=0))
    reader = MetaDatasetReader(tmp_path)
    trials = reader.trials(expand=True)
    assert list(trials["config.learning_rate"]) == [1e-4, 2e-4]
    assert [str(trials[f"config.{name}"].dtype) for name in ("rank", "bias")] == ["int64", "bool"]
    assert list(trials.columns[: len(Table.TRIALS.columns)]) == list(Table.TRIALS.columns)
    tasks = reader.tasks(expand=True)
    assert list(tasks["meta_features.zero_shot_loss"]) == [3.25]


def test_columns_can_be_chosen(tmp_path: Path) -> None:
    committed(tmp_path, [a_point(a_trial(), 1)])
    frame = MetaDatasetReader(tmp_path).curves(columns=["eval_loss", "epoch"])
    assert list(frame.columns) == ["eval_loss", "epoch"]


def test_rows_in_the_log_that_parquet_lacks_are_counted_after_a_crash(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path)
    ledger.grant(a_trial().trial_id, WORKER)
    ledger.record_point(a_point(a_trial(), 1))
    ledger.commit()
    ledger.__exit__(RuntimeError, None, None)
    assert MetaDatasetReader(tmp_path).unpublished_rows() == 2
    Ledger.open(tmp_path).close()
    assert MetaDatasetReader(tmp_path).unpublished_rows() == 0


TRIALS = 4000


def write(root: Path, started: Event, stop: Event) -> None:
    """Write trials as fast as it goes, the newest parts anew all the time, sealing often."""
    with Ledger.open(root, publish_interval_s=0.01, seal_rows=90) as ledger:
        started.set()
        for index in range(TRIALS):
            trial = a_trial(index)
            ledger.grant(trial.trial_id, WORKER)
            for epoch in range(1, EPOCHS + 1):
                ledger.record_point(a_point(trial, epoch))
                ledger.commit()
                ledger.publish_if_due()
            ledger.record_result(a_result(trial))
            ledger.commit()
            if stop.is_set():
                break


def read_with_pandas(root: Path) -> Rows:
    frame = pd.read_parquet(root / "curves")
    return list(frame[["trial_id", "epoch", "eval_loss"]].itertuples(index=False, name=None))


def read_with_duckdb(root: Path) -> Rows:
    files = f"{root}/curves/*.parquet"
    found = duckdb.execute("select trial_id, epoch, eval_loss from read_parquet(?)", [files]).fetchall()
    return [tuple(row) for row in found]


def read_with_the_reader(root: Path) -> Rows:
    """Trials first: what they refer to must then be there."""
    reader = MetaDatasetReader(root)
    trials, curves = reader.trials(), reader.curves()
    epochs = curves.groupby("trial_id").size()
    assert (trials["trial_id"].map(epochs) == trials["epochs"]).all()
    return list(curves[["trial_id", "epoch", "eval_loss"]].itertuples(index=False, name=None))


def test_readers_see_growing_prefixes_without_a_gap_or_an_error_while_parts_are_rewritten(
    tmp_path: Path,
) -> None:
    expected = [
        (trial.trial_id, epoch, a_point(trial, epoch).eval_loss)
        for trial in map(a_trial, range(TRIALS))
        for epoch in range(1, EPOCHS + 1)
    ]
    spawn = multiprocessing.get_context("spawn")
    started, stop = spawn.Event(), spawn.Event()
    writer = spawn.Process(target=write, args=(tmp_path, started, stop))
    writer.start()
    assert started.wait(60)
    readers: list[Callable[[Path], Rows]] = [read_with_pandas, read_with_duckdb, read_with_the_reader]
    seen, sizes = 0, set[int]()
    while writer.is_alive() and (len(sizes) < 60 or len(RootLayout(tmp_path).parts("curves")) < 3):
        for read in readers:
            rows = read(tmp_path)
            assert rows == expected[: len(rows)], read.__name__
            assert len(rows) >= seen
            seen = len(rows)
            sizes.add(seen)
    stop.set()
    writer.join(60)
    assert writer.exitcode == 0
    assert len(sizes) >= 60
