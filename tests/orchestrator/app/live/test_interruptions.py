"""A live comparison that is killed, and the same command again."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from orchestrator.app.evaluate import Protocol
from orchestrator.app.live.comparison import LiveProtocol, compare_live
from orchestrator.app.roots import planned_trials
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.reader import MetaDatasetReader
from orchestrator.metadataset.schema import Table
from orchestrator.metadataset.segments import read_segment
from orchestrator.metadataset.verify import verify
from tests.orchestrator.app.live.pasts import EPOCHS, NEW, rehearse
from workers import rehearsal
from workers.training.control import TrainerControl

METHODS = ("random", "ASHA", "default")


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.app.live.comparison.can_draw", lambda: False)


def _compare(past: Path, out: Path) -> None:
    how = Protocol(budgets=(9.0,), seeds=1, methods=METHODS, own_time=False)
    compare_live(past, [NEW], protocol=LiveProtocol(how=how), out=out)


def _root(out: Path) -> Path | None:
    return next((path.parent for path in out.glob("trials/*/_ledger")), None)


def _points(out: Path) -> int:
    """Points in the log: those in Parquet come up to two seconds later, when all may have been measured."""
    root = _root(out)
    segments = {} if root is None else RootLayout(root).segments()
    return sum(
        table is Table.CURVES
        for number, path in segments.items()
        for table, _ in read_segment(path, number).rows
    )


def _assert_whole(past: Path, out: Path, untouched: Path) -> None:
    """What was interrupted and continued is what nobody touched, and its ledger holds."""
    _compare(past, out)
    _compare(past, untouched)
    root = _root(out)
    assert root is not None
    curves = MetaDatasetReader(root).curves()
    assert len(curves) == 3 * EPOCHS
    assert not curves.duplicated(["trial_id", "epoch"]).any()
    assert verify(root, planned=planned_trials(root)).ok
    ours, whole = (
        pd.read_parquet(folder / "trajectories.parquet").drop(columns="own_s") for folder in (out, untouched)
    )
    pd.testing.assert_frame_equal(ours, whole)


def test_a_comparison_that_was_killed_goes_on_with_what_was_measured(tmp_path: Path) -> None:
    past, out = rehearse(tmp_path / "past", epoch_s=0.3, configs=3), tmp_path / "out"
    chosen = ["--methods", ",".join(METHODS), "--budgets", "9", "--seeds", "1", "--no-own-time"]
    where = ["evaluate", str(past), "--live", NEW, "--out", str(out)]
    driver = subprocess.Popen(
        [sys.executable, "-m", "orchestrator.cli", *where, *chosen], stdout=subprocess.DEVNULL
    )
    try:
        while _points(out) < 2:
            assert driver.poll() is None
            time.sleep(0.02)
    finally:
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
    assert 2 <= _points(out) < 3 * EPOCHS
    _assert_whole(past, out, tmp_path / "untouched")


def test_a_comparison_that_was_interrupted_goes_on_with_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    past, out = rehearse(tmp_path / "past", epoch_s=0.002, configs=3), tmp_path / "out"
    pass_time, epochs = rehearsal._pass_time, 0

    def interrupted(epoch_s: float, control: TrainerControl) -> None:
        nonlocal epochs
        epochs += 1
        if epochs == 5:
            signal.raise_signal(signal.SIGINT)
        pass_time(epoch_s, control)

    monkeypatch.setattr(rehearsal, "_pass_time", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _compare(past, out)
    _assert_whole(past, out, tmp_path / "untouched")
    assert epochs == 1 + 2 * 3 * EPOCHS  # the one that was cut short, and every other once a folder
