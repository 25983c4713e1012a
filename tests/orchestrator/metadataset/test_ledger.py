import errno
import math
import os
import pickle
import resource
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.contracts import (
    METRIC_COLUMNS,
    InputError,
    LeaseLostError,
    Outcome,
    RootInUseError,
    TrialId,
)
from orchestrator.metadataset.errors import CommitUnknownError, CurveGapError, LeaseEndedError, StorageError
from orchestrator.metadataset.index import Receipt, TrialProgress
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.ledger import Ledger
from orchestrator.metadataset.reader import MetaDatasetReader
from orchestrator.metadataset.schema import Table
from tests.orchestrator.metadataset.records import (
    WORKER,
    a_point,
    a_result,
    a_task,
    a_trial,
    committed,
    keys,
)

TRIAL = a_trial()
ID = TRIAL.trial_id


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "root") as opened:
        yield opened


def test_grants_count_up_and_fence_off_the_attempt_before(ledger: Ledger) -> None:
    assert [ledger.grant(ID, WORKER), ledger.grant(ID, WORKER)] == [0, 1]
    with pytest.raises(LeaseLostError, match="attempt 0 lost its lease to attempt 1"):
        ledger.record_point(a_point(TRIAL, 1, attempt=0))
    with pytest.raises(LeaseLostError):
        ledger.record_result(a_result(TRIAL, 0, epochs=0))
    assert ledger.record_point(a_point(TRIAL, 1, attempt=1)) is Receipt.NEW
    assert ledger.progress(ID) == TrialProgress(epochs=1, train_s=0.5, eval_s=0.25, attempt=1, outcome=None)


def test_repeated_point_changes_nothing_and_the_first_stands(tmp_path: Path) -> None:
    with Ledger.open(tmp_path) as ledger:
        ledger.grant(ID, WORKER)
        assert ledger.record_point(a_point(TRIAL, 1, eval_loss=1.0)) is Receipt.NEW
        assert ledger.record_point(a_point(TRIAL, 1, eval_loss=2.0)) is Receipt.DUPLICATE
        ledger.commit()
        assert ledger.record_point(a_point(TRIAL, 1, eval_loss=3.0)) is Receipt.DUPLICATE
    with Ledger.open(tmp_path) as ledger:
        ledger.grant(ID, WORKER)
        assert ledger.record_point(a_point(TRIAL, 1, attempt=1, eval_loss=4.0)) is Receipt.DUPLICATE
    curves = MetaDatasetReader(tmp_path).curves()
    assert list(zip(curves["epoch"], curves["eval_loss"], curves["attempt"], strict=True)) == [(1, 1.0, 0)]


@pytest.mark.parametrize("epoch", [2, 3, 10])
def test_epoch_that_leaves_a_gap_is_refused(ledger: Ledger, epoch: int) -> None:
    ledger.grant(ID, WORKER)
    with pytest.raises(CurveGapError, match=f"epoch {epoch} can't follow epoch 0"):
        ledger.record_point(a_point(TRIAL, epoch))


def test_finished_trial_takes_repeats_quietly_and_nothing_new(ledger: Ledger) -> None:
    ledger.grant(ID, WORKER)
    ledger.record_point(a_point(TRIAL, 1))
    assert ledger.record_result(a_result(TRIAL, epochs=1)) is Receipt.NEW
    assert ledger.record_result(a_result(TRIAL, epochs=1, outcome=Outcome.FAILED)) is Receipt.DUPLICATE
    assert ledger.record_point(a_point(TRIAL, 1)) is Receipt.DUPLICATE
    with pytest.raises(LeaseEndedError, match=r"attempt 0 is over \(finished as completed\)"):
        ledger.record_point(a_point(TRIAL, 2))
    with pytest.raises(LeaseEndedError):
        ledger.record_lost(ID, 0, "node died")
    with pytest.raises(ValueError, match="finished as completed; a finished trial is not granted again"):
        ledger.grant(ID, WORKER)
    assert ledger.progress(ID).outcome is Outcome.COMPLETED


def test_lost_attempt_writes_no_more_but_its_trial_can_be_given_up(ledger: Ledger) -> None:
    ledger.grant(ID, WORKER)
    assert ledger.record_started(ID, 0) is Receipt.NEW
    assert ledger.record_started(ID, 0) is Receipt.DUPLICATE
    assert ledger.record_lost(ID, 0, "node died") is Receipt.NEW
    assert ledger.record_lost(ID, 0, "node died") is Receipt.DUPLICATE
    with pytest.raises(LeaseEndedError, match=r"is over \(lost\)"):
        ledger.record_point(a_point(TRIAL, 1))
    assert ledger.record_result(a_result(TRIAL, epochs=0, outcome=Outcome.FAILED)) is Receipt.NEW


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda ledger: ledger.record_point(a_point(a_trial(1), 1)), "was never granted"),
        (lambda ledger: ledger.record_point(a_point(TRIAL, 1, attempt=1)), "attempt 1 was never granted"),
        (lambda ledger: ledger.record_point(a_point(TRIAL, 1, attempt=-1)), "attempt -1 was never granted"),
        (lambda ledger: ledger.record_point(a_point(TRIAL, 0)), "epochs count from 1, got 0"),
        (lambda ledger: ledger.record_result(a_result(TRIAL, epochs=2)), "says 2 epochs, its curve has 0"),
        (
            lambda ledger: ledger.record_result(a_result(TRIAL, epochs=0, outcome=Outcome.LOST)),
            "lost is no result",
        ),
        (lambda ledger: ledger.record_started(ID, 3), "attempt 3 was never granted"),
    ],
)
def test_callers_mistake_is_named_and_leaves_no_trace(
    tmp_path: Path, write: Callable[[Ledger], object], message: str
) -> None:
    with Ledger.open(tmp_path) as ledger:
        ledger.grant(ID, WORKER)
        with pytest.raises(ValueError, match=message):
            write(ledger)
        assert ledger.progress(ID) == TrialProgress(attempt=0)
        assert ledger.commit() == 1
    assert keys(tmp_path) == []


def test_journal_tells_each_attempt_from_grant_to_end(tmp_path: Path) -> None:
    with Ledger.open(tmp_path) as ledger:
        ledger.grant(ID, WORKER)
        ledger.record_started(ID, 0)
        ledger.record_lost(ID, 0, "node died")
        ledger.grant(ID, WORKER)
    with Ledger.open(tmp_path) as ledger:
        ledger.grant(ID, WORKER)
        ledger.record_result(a_result(TRIAL, 2, epochs=0, outcome=Outcome.INVALID))
    rows = MetaDatasetReader(tmp_path).attempts()
    assert list(rows[["attempt", "event", "detail"]].itertuples(index=False, name=None)) == [
        (0, "granted", ""),
        (0, "started", ""),
        (0, "lost", "node died"),
        (1, "granted", ""),
        (1, "lost", "attempt 2 was granted"),
        (2, "granted", ""),
        (2, "finished", "invalid"),
    ]
    assert set(rows["worker"]) == {WORKER}


def test_task_is_described_once(tmp_path: Path) -> None:
    with Ledger.open(tmp_path) as ledger:
        assert ledger.record_task(a_task(1)) is Receipt.NEW
        assert ledger.record_task(a_task(1)) is Receipt.DUPLICATE
    with Ledger.open(tmp_path) as ledger:
        assert ledger.record_task(replace(a_task(1), name="other")) is Receipt.DUPLICATE
    tasks = MetaDatasetReader(tmp_path).tasks(expand=True)
    assert list(tasks["name"]) == ["name1"]
    assert list(tasks["meta_features.answer_tokens"]) == [2.5]


floats = st.floats(allow_nan=True, allow_infinity=True, allow_subnormal=True)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(st.lists(floats, min_size=9, max_size=9), min_size=1, max_size=4), crash=st.booleans())
def test_points_survive_write_commit_read_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, values: list[list[float]], crash: bool
) -> None:
    root = tmp_path_factory.mktemp("root")
    names = [name for name in METRIC_COLUMNS if name not in ("step", "tokens")]
    rows: list[dict[str, Any]] = [dict(zip(names, row, strict=True)) for row in values]
    points = [a_point(TRIAL, epoch, **row) for epoch, row in enumerate(rows, start=1)]
    ledger = Ledger.open(root)
    ledger.grant(ID, WORKER)
    for point in points:
        ledger.record_point(point)
    ledger.commit()
    if crash:
        ledger.__exit__(RuntimeError, None, None)
        ledger = Ledger.open(root)
    ledger.close()
    curves = pd.read_parquet(root / "curves")
    for point, row in zip(points, curves.to_dict("records"), strict=True):
        for name in METRIC_COLUMNS:
            assert same_float(row[name], getattr(point, name)), name
        assert {k: row[k] for k in ("trial_id", "seed", "device")} == {
            "trial_id": ID,
            "seed": 7,
            "device": "cpu",
        }


def same_float(ours: float, theirs: float) -> bool:
    return struct.pack("<d", ours) == struct.pack("<d", theirs) or (math.isnan(ours) and math.isnan(theirs))


def test_uncommitted_rows_are_shown_to_no_reader_and_die_with_the_process(tmp_path: Path) -> None:
    committed(tmp_path, [a_point(TRIAL, 1)])
    ledger = Ledger.open(tmp_path)
    ledger.grant(ID, WORKER)
    ledger.record_point(a_point(TRIAL, 2, attempt=1))
    ledger.publish()
    assert keys(tmp_path) == [(ID, 1)]
    assert ledger.progress(ID).epochs == 2
    ledger.__exit__(RuntimeError, None, None)
    with Ledger.open(tmp_path) as ledger:
        assert ledger.progress(ID) == TrialProgress(epochs=1, train_s=0.5, eval_s=0.25, attempt=0)


def test_publication_waits_for_its_interval_and_the_lag_is_told(tmp_path: Path) -> None:
    clock = Clock()
    with Ledger.open(tmp_path, clock=clock) as ledger:
        assert (ledger.publish_if_due(), ledger.lag_s) == (False, 0.0)
        ledger.grant(ID, WORKER)
        ledger.record_point(a_point(TRIAL, 1))
        ledger.commit()
        clock.now_s += 0.75
        assert (ledger.publish_if_due(), ledger.lag_s) == (False, 0.75)
        assert (keys(tmp_path), MetaDatasetReader(tmp_path).unpublished_rows()) == ([], 2)
        clock.now_s += 0.25
        assert (ledger.publish_if_due(), ledger.lag_s) == (True, 0.0)
        assert (keys(tmp_path), MetaDatasetReader(tmp_path).unpublished_rows()) == ([(ID, 1)], 0)


def test_first_point_after_a_quiet_time_is_published_at_once(tmp_path: Path) -> None:
    clock = Clock()
    with Ledger.open(tmp_path, clock=clock) as ledger:
        ledger.grant(ID, WORKER)
        clock.now_s += 60
        ledger.commit()
        assert ledger.publish_if_due()


def test_parts_are_sealed_at_their_bound_and_never_written_again(tmp_path: Path) -> None:
    layout = RootLayout(tmp_path)
    trials = [a_trial(index) for index in range(6)]
    with Ledger.open(tmp_path, seal_rows=6, publish_interval_s=1e9) as ledger:
        stats: dict[int, int] = {}
        for trial in trials:
            ledger.grant(trial.trial_id, WORKER)
            for epoch in (1, 2, 3):
                ledger.record_point(a_point(trial, epoch))
            ledger.commit()
            ledger.publish_if_due()
            for number, path in layout.parts("curves").items():
                if number < max(layout.segments()):
                    assert stats.setdefault(number, path.stat().st_mtime_ns) == path.stat().st_mtime_ns
        assert list(layout.segments()) == [3]
    assert list(layout.parts("curves")) == [0, 1, 2]
    assert list(layout.parts("trials")) == [0]
    assert keys(tmp_path) == [(trial.trial_id, epoch) for trial in trials for epoch in (1, 2, 3)]
    with Ledger.open(tmp_path) as ledger:
        assert [ledger.progress(trial.trial_id).epochs for trial in trials] == [3] * 6


def test_root_is_refused_to_a_second_writer_and_free_after_close(tmp_path: Path) -> None:
    with Ledger.open(tmp_path), pytest.raises(RootInUseError):
        Ledger.open(tmp_path)
    ledger = Ledger.open(tmp_path)
    ledger.close()
    ledger.close()
    with pytest.raises(ValueError, match="is closed; open it again"):
        ledger.commit()


@contextmanager
def file_size_limit(size_bytes: int) -> Iterator[None]:
    """Let the system itself refuse to write beyond a size, in the middle of a write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("room_bytes", [0, 1, 11, 12, 13, 100])
def test_commit_the_disk_has_no_room_for_has_not_landed_and_lands_when_there_is(
    tmp_path: Path, room_bytes: int
) -> None:
    layout = RootLayout(tmp_path)
    with Ledger.open(tmp_path) as ledger:
        ledger.grant(ID, WORKER)
        ledger.record_point(a_point(TRIAL, 1))
        size_bytes = layout.segment(0).stat().st_size
        with (
            file_size_limit(size_bytes + room_bytes),
            pytest.raises(StorageError, match="can't be written: File too"),
        ):
            ledger.commit()
        assert layout.segment(0).stat().st_size == size_bytes
        assert ledger.commit() == 2
    assert keys(tmp_path) == [(ID, 1)]


def test_publication_the_disk_has_no_room_for_loses_nothing(tmp_path: Path) -> None:
    committed(tmp_path, [a_point(TRIAL, 1)])
    with Ledger.open(tmp_path) as ledger:
        ledger.grant(ID, WORKER)
        ledger.record_point(a_point(TRIAL, 2, attempt=1))
        ledger.commit()
        with file_size_limit(100), pytest.raises(StorageError, match="resume"):
            ledger.publish()
        assert keys(tmp_path) == [(ID, 1)]
        assert not RootLayout(tmp_path).asides()
        ledger.publish()
        assert keys(tmp_path) == [(ID, 1), (ID, 2)]


def test_sealing_the_disk_has_no_room_for_can_be_made_good(tmp_path: Path) -> None:
    no_room = {"segment: before write"}

    def fault(point: str) -> None:
        if point in no_room and opened:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    opened: list[Ledger] = []
    with Ledger.open(tmp_path, fault=fault, seal_rows=2) as ledger:
        opened.append(ledger)
        ledger.grant(ID, WORKER)
        for epoch in (1, 2, 3):
            ledger.record_point(a_point(TRIAL, epoch))
        ledger.commit()
        with pytest.raises(StorageError, match="No space left on device"):
            ledger.publish()
        ledger.record_result(a_result(TRIAL))
        ledger.commit()
        no_room.clear()
    assert list(RootLayout(tmp_path).segments()) == [1]
    assert keys(tmp_path, Table.TRIALS) == [(ID, 0)]


def test_commit_of_unknown_fate_stops_the_ledger_and_opening_again_settles_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger.open(tmp_path)
    ledger.grant(ID, WORKER)
    ledger.record_point(a_point(TRIAL, 1))

    def refuse(handle: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(CommitUnknownError, match="not known whether the last rows are on disk"):
            ledger.commit()
    for call in (ledger.commit, ledger.publish, ledger.close):
        with pytest.raises(CommitUnknownError):
            call()
    with Ledger.open(tmp_path) as again:
        assert again.progress(ID).epochs == 1
    assert keys(tmp_path) == [(ID, 1)]


def test_root_that_can_not_be_made_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"root can't be written: File exists: '.*/file'; mend that"):
        Ledger.open(tmp_path / "file" / "root")


@pytest.mark.parametrize(
    "name", ["with space", "quote's \"mark", "lr=0.1", "_hidden", ".dotted", "日本", "a%20b"]
)
def test_root_may_have_any_name(tmp_path: Path, name: str) -> None:
    root = committed(tmp_path / name / "run", [a_point(TRIAL, 1)])
    assert keys(root) == [(ID, 1)]
    frame = pd.read_parquet(root / "curves")
    assert list(frame.columns) == list(Table.CURVES.columns)
    with Ledger.open(root) as ledger:
        assert ledger.progress(ID).epochs == 1


@pytest.mark.parametrize(
    "error",
    [
        StorageError("p", "No space left"),
        CommitUnknownError("p", "Input/output error"),
        CurveGapError("t", 4, 2),
        LeaseEndedError("t", 1, "lost"),
    ],
)
def test_errors_cross_processes_whole(error: Exception) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


def test_progress_of_an_unknown_trial_is_none_at_all(ledger: Ledger) -> None:
    assert ledger.progress(TrialId("unheard of")) == TrialProgress(0, 0.0, 0.0, -1, None)
