"""A root begun by an earlier release is read, gone on with and proved whole.

``schema-1`` was written by the release before schema version 2, and its process killed: a task, a trial of
which one epoch is in its part and a second in the log alone.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from orchestrator.metadataset.ledger import Ledger
from orchestrator.metadataset.reader import MetaDatasetReader
from orchestrator.metadataset.schema import Table
from orchestrator.metadataset.verify import verify
from tests.orchestrator.metadataset.records import WORKER, a_point, a_result, a_trial

TRIAL = a_trial(1)


class Killed(BaseException):
    """The process dies here."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    shutil.copytree(Path(__file__).parent / "schema-1", tmp_path / "root")
    return tmp_path / "root"


def finish(root: Path) -> None:
    with Ledger.open(root) as ledger:
        attempt = ledger.grant(TRIAL.trial_id, WORKER)
        ledger.record_point(a_point(TRIAL, 3, attempt))
        ledger.record_result(a_result(TRIAL, attempt))


def test_older_rows_are_read_with_nulls_in_new_columns(root: Path) -> None:
    curves = MetaDatasetReader(root).curves()
    assert list(curves["epoch"]) == [1]
    assert list(curves.columns) == list(Table.CURVES.columns)
    assert curves["eval_rouge_l"].isna().all()


def test_older_root_is_gone_on_with_and_certified(root: Path) -> None:
    finish(root)
    curves = MetaDatasetReader(root).curves()
    assert list(curves["epoch"]) == [1, 2, 3]
    assert list(curves["eval_loss"]) == [a_point(TRIAL, epoch).eval_loss for epoch in (1, 2, 3)]
    assert list(curves["eval_rouge_l"].isna()) == [True, True, False]
    assert verify(root).ok
    finished = MetaDatasetReader(root).trials()
    assert list(finished["outcome"]) == ["completed"]


def test_what_an_older_footer_points_to_is_still_there(root: Path) -> None:
    part = root / "curves" / "part-000000.parquet"
    before = part.read_bytes()
    finish(root)
    footer = int.from_bytes(before[-8:-4], "little") + 8
    assert part.read_bytes().startswith(before[:-footer])


def test_duckdb_reads_the_part_as_any_other(root: Path) -> None:
    finish(root)
    found = duckdb.sql(f"select epoch, eval_rouge_l is null from '{root}/curves/*.parquet' order by epoch")
    assert found.fetchall() == [(1, True), (2, True), (3, False)]


def test_new_columns_outlive_a_restart(root: Path) -> None:
    finish(root)
    Ledger.open(root).close()
    assert list(MetaDatasetReader(root).curves()["eval_rouge_l"].isna()) == [True, True, False]
    assert "eval_rouge_l" in pd.read_parquet(root / "curves").columns
    assert verify(root).ok


def test_going_on_with_an_older_root_may_be_cut_at_any_step(root: Path, tmp_path: Path) -> None:
    steps: list[str] = []
    shutil.copytree(root, tmp_path / "counted")
    Ledger.open(tmp_path / "counted", fault=steps.append).close()
    assert len(steps) > 10
    for cut_at in range(len(steps)):
        cut = tmp_path / f"cut-{cut_at}"
        shutil.copytree(root, cut)
        left = iter(range(cut_at))

        def fault(step: str, left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise Killed(step)

        with pytest.raises(Killed):
            Ledger.open(cut, fault=fault).close()
        finish(cut)
        assert list(MetaDatasetReader(cut).curves()["epoch"]) == [1, 2, 3], steps[cut_at]
        assert verify(cut).ok, steps[cut_at]
