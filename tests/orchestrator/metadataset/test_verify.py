import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from orchestrator.contracts import Outcome, config_id
from orchestrator.metadataset.durable import no_fault
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.ledger import Ledger
from orchestrator.metadataset.parts import GrowingPart, read_part
from orchestrator.metadataset.reader import MetaDatasetReader
from orchestrator.metadataset.schema import Table
from orchestrator.metadataset.verify import Certificate, compare, verify
from tests.orchestrator.metadataset.records import (
    EPOCHS,
    WORKER,
    CrashAt,
    Sweep,
    a_point,
    a_result,
    a_trial,
)

TRIALS = [a_trial(index) for index in range(3)]
IDS = [trial.trial_id for trial in TRIALS]
PLAN = {trial.trial_id: trial.max_epochs for trial in TRIALS}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    Sweep(root, TRIALS, seal_rows=10**6).run(CrashAt(None))
    # Without its log a root's parts are all there is, so that tampering meets each check by itself.
    RootLayout(root).segment(0).unlink()
    return root


def tamper(root: Path, table: Table, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Change a part's rows behind the ledger's back, checksums and all."""
    layout = RootLayout(root)
    frame = change(read_part(layout.part(table, 0)).to_pandas())
    rows = pa.Table.from_pandas(frame, schema=table.schema, preserve_index=False)
    GrowingPart(layout, table, 0).publish(rows, no_fault)


def at(column: str, row: int, value: str | float) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame[column] = frame[column].astype(object)
        frame.loc[row, column] = value
        return frame

    return change


def test_trial_trained_further_has_a_row_for_each_end_and_the_newest_counts(tmp_path: Path) -> None:
    longer = a_trial(0, epochs=EPOCHS + 1)
    Sweep(tmp_path, [replace(longer, max_epochs=EPOCHS)]).run(CrashAt(None))
    assert failing(verify(tmp_path, planned={longer.trial_id: EPOCHS + 1})) == [
        "every planned trial has its outcome"
    ]
    with Ledger.open(tmp_path) as ledger:
        attempt = ledger.grant(longer.trial_id, WORKER, reopen=True)
        ledger.commit()
    # Granted again and not finished: it has no result now, and that is no fault unless it was planned.
    assert verify(tmp_path).ok, verify(tmp_path).render()
    assert failing(verify(tmp_path, planned={longer.trial_id: EPOCHS})) == [
        "every planned trial has its outcome"
    ]
    with Ledger.open(tmp_path) as ledger:
        ledger.record_point(a_point(longer, EPOCHS + 1, attempt))
        ledger.record_result(a_result(longer, attempt, epochs=EPOCHS + 1))
    certificate = verify(tmp_path, planned={longer.trial_id: EPOCHS + 1})
    assert certificate.ok, certificate.render()
    assert certificate.counts["trials"] == 2
    trials = MetaDatasetReader(tmp_path).trials()
    assert list(trials["epochs"]) == [EPOCHS + 1]


def doubled(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([frame, frame.iloc[[1]]])


def without(row: int) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda frame: frame.drop(index=row)


def failing(certificate: Certificate) -> list[str]:
    return [check.claim for check in certificate.checks if not check.ok]


def test_sound_root_is_certified_with_its_counts(root: Path) -> None:
    certificate = verify(root, planned=PLAN)
    assert certificate.ok
    assert failing(certificate) == []
    assert certificate.counts == {
        "attempts": 9,
        "tasks": 1,
        "curves": 9,
        "trials": 3,
        "completed trials": 3,
    }
    assert certificate.render().endswith("\n  certified")
    assert json.loads(json.dumps(certificate.as_dict(), allow_nan=False))["ok"] is True


def test_empty_root_is_sound_and_lacks_every_planned_trial(tmp_path: Path) -> None:
    Ledger.open(tmp_path).close()
    assert verify(tmp_path).ok
    certificate = verify(tmp_path, planned=PLAN)
    assert failing(certificate) == ["every planned trial has its outcome"]
    assert certificate.checks[-3].first == tuple(
        {"trial_id": trial_id, "epochs": 0, "planned_epochs": EPOCHS} for trial_id in IDS
    )


EPOCHS_FOLLOW = "the epochs of every trial follow one another from 1"
LABELS = "every curve row bears the labels of its trial"
HASHES = "every config hashes to its config_id and every trial to its trial_id"
FENCES = "every curve row was written by an attempt that held its trial"
ATTEMPTS = "attempts were granted in turn, and each trial was finished by its last"
LENGTHS = "trials and curves agree on every trial's epochs"
COSTS = "every trial's training seconds cover those of its curve"


@pytest.mark.parametrize(
    ("table", "change", "claim", "first"),
    [
        (Table.CURVES, doubled, "no row of curves stands twice", {"trial_id": IDS[0], "epoch": 2}),
        (Table.TRIALS, doubled, "no row of trials stands twice", {"trial_id": IDS[1]}),
        (Table.CURVES, without(4), EPOCHS_FOLLOW, {"trial_id": IDS[1], "epoch": 3, "expected": 2}),
        (Table.CURVES, without(5), LENGTHS, {"trial_id": IDS[1], "epochs": 3, "curve_rows": 2}),
        (
            Table.CURVES,
            at("trial_id", 8, "stranger"),
            "every row is of a trial that was granted to a worker",
            {"table": "curves", "trial_id": "stranger"},
        ),
        (Table.CURVES, at("config_id", 3, "other"), LABELS, {"trial_id": IDS[1], "config_id": "other"}),
        (Table.CURVES, at("seed", 0, 8), LABELS, {"trial_id": IDS[0], "seed": 8, "expected_seed": 7}),
        (Table.CURVES, at("task_id", 2, "other"), LABELS, {"epoch": 3, "task_id": "other"}),
        (
            Table.TRIALS,
            at("config", 1, '{"rank":9}'),
            HASHES,
            {"trial_id": IDS[1], "config_id": TRIALS[1].config_id, "computed": config_id({"rank": 9})},
        ),
        (Table.TRIALS, at("seed", 2, 8), HASHES, {"trial_id": IDS[2]}),
        (Table.TRIALS, at("settings", 0, '{"horizon":1}'), HASHES, {"trial_id": IDS[0]}),
        (Table.CURVES, at("attempt", 1, 1), FENCES, {"trial_id": IDS[0], "epoch": 2, "attempt": 1}),
        (Table.ATTEMPTS, at("attempt", 3, 5), ATTEMPTS, {"attempt": 5, "expected": 0}),
        (Table.ATTEMPTS, without(2), ATTEMPTS, {"reason": "its attempt was not journalled as finished"}),
        (Table.TRIALS, without(1), ATTEMPTS, {"reason": "finished without a row in trials"}),
        (Table.TRIALS, at("attempt", 0, 1), ATTEMPTS, {"reason": "not finished by the last attempt granted"}),
        (Table.TRIALS, at("train_s", 2, 1.0), COSTS, {"train_s": 1.0, "curve_train_s": 1.5}),
        (Table.TRIALS, at("outcome", 0, "lost"), "every outcome is a result", {"outcome": "lost"}),
        (Table.TRIALS, without(2), "every planned trial has its outcome", {"trial_id": IDS[2], "epochs": 3}),
    ],
)
def test_tampered_row_fails_the_claim_it_breaks_and_is_named(
    root: Path,
    table: Table,
    change: Callable[[pd.DataFrame], pd.DataFrame],
    claim: str,
    first: dict[str, Any],
) -> None:
    tamper(root, table, change)
    certificate = verify(root, planned=PLAN)
    assert not certificate.ok
    (broken,) = (check for check in certificate.checks if check.claim == claim)
    assert broken.offending >= 1
    assert first.items() <= broken.first[0].items()
    assert "FAIL  " + claim in certificate.render()
    json.dumps(certificate.as_dict(), allow_nan=False)


def test_stray_copy_of_a_part_is_found_before_it_doubles_rows(root: Path) -> None:
    stray = root / "curves" / "part-000000 (copy).parquet"
    stray.write_bytes(RootLayout(root).part("curves", 0).read_bytes())
    assert len(pd.read_parquet(root / "curves")) == 18
    certificate = verify(root)
    assert failing(certificate) == ["the tables' folders hold parts and nothing else"]
    assert certificate.checks[1].first == ({"file": "curves/part-000000 (copy).parquet"},)


def test_rows_the_parts_lack_or_hold_otherwise_than_the_log_are_found(tmp_path: Path) -> None:
    root = tmp_path / "root"
    Sweep(root, TRIALS, seal_rows=10**6).run(CrashAt(None))
    claim = "the log can be read, and every committed row stands in its part"
    before = RootLayout(root).part(Table.CURVES, 0).read_bytes()
    tamper(root, Table.CURVES, at("eval_loss", 4, 0.0))
    (broken,) = (check for check in verify(root).checks if not check.ok)
    assert (broken.claim, broken.offending) == (claim, 1)
    assert broken.first[0] == {"part": "curves/part-000000.parquet", "trial_id": IDS[1], "epoch": 2}
    RootLayout(root).part(Table.CURVES, 0).write_bytes(before)
    ledger = Ledger.open(root)
    ledger.grant(a_trial(9).trial_id, WORKER)
    ledger.commit()
    ledger.__exit__(RuntimeError, None, None)
    assert failing(verify(root)) == [claim]
    Ledger.open(root).close()
    assert verify(root).ok


def test_nothing_is_certified_of_a_root_that_is_being_written(tmp_path: Path) -> None:
    with Ledger.open(tmp_path):
        certificate = verify(tmp_path)
        assert failing(certificate) == []
        assert not certificate.ok
        assert f"{tmp_path} is being written: check again when its driver has ended" in certificate.render()
        assert not compare(tmp_path, tmp_path).ok
    assert verify(tmp_path).ok


def test_unfinished_trial_is_sound_but_for_its_missing_outcome(tmp_path: Path) -> None:
    with Ledger.open(tmp_path) as ledger:
        for attempt in (0, 1):
            ledger.grant(IDS[0], WORKER)
            ledger.record_point(a_point(TRIALS[0], attempt + 1, attempt))
    assert verify(tmp_path).ok
    assert failing(verify(tmp_path, planned={IDS[0]: EPOCHS})) == ["every planned trial has its outcome"]


def sweep_of(
    root: Path,
    *,
    attempts: int = 1,
    outcome: Outcome = Outcome.COMPLETED,
    changes: dict[str, Any] | None = None,
) -> Path:
    """One trial, with a loss that is no number, over so many attempts."""
    with Ledger.open(root) as ledger:
        for attempt in range(attempts):
            ledger.grant(IDS[0], WORKER)
            done = ledger.progress(IDS[0]).epochs
            for epoch in range(done + 1, EPOCHS + 1 if attempt == attempts - 1 else done + 2):
                point = a_point(TRIALS[0], epoch, attempt, train_loss=float("nan"), cpu_s=float(attempt))
                ledger.record_point(
                    point if epoch < EPOCHS else a_point(TRIALS[0], epoch, attempt, **(changes or {}))
                )
        ledger.record_result(a_result(TRIALS[0], attempts - 1, outcome=outcome))
    return root


def test_sweeps_with_the_same_results_compare_equal_whatever_befell_them(tmp_path: Path) -> None:
    a, b = sweep_of(tmp_path / "a"), sweep_of(tmp_path / "b", attempts=3, changes={"train_s": 99.0})
    certificate = compare(a, b)
    assert certificate.ok, certificate.render()
    assert certificate.counts == {"trials": 1, "curves": EPOCHS}


@pytest.mark.parametrize(
    ("column", "theirs", "ours"),
    [("eval_loss", 5e-324, 0.0), ("test_loss", -0.0, 0.0), ("eval_loss", float("nan"), 1.0)],
)
def test_smallest_difference_of_a_metric_is_found_and_named(
    tmp_path: Path, column: str, theirs: float, ours: float
) -> None:
    a = sweep_of(tmp_path / "a", changes={column: ours})
    b = sweep_of(tmp_path / "b", changes={column: theirs})
    certificate = compare(a, b)
    assert failing(certificate) == ["their metrics are equal, bit for bit"]
    first = certificate.checks[-1].first[0]
    assert (first["trial_id"], first["epoch"]) == (IDS[0], EPOCHS)
    assert (str(first[f"{column}_a"]), str(first[f"{column}_b"])) == (str(ours), str(theirs))


def test_other_outcomes_missing_trials_and_missing_points_are_found(tmp_path: Path) -> None:
    a = sweep_of(tmp_path / "a")
    b = sweep_of(tmp_path / "b", outcome=Outcome.STOPPED)
    assert failing(compare(a, b)) == ["both hold the same trials with the same outcomes and epochs"]
    Sweep(tmp_path / "c", TRIALS).run(CrashAt(None))
    certificate = compare(a, tmp_path / "c")
    trials, points, metrics = certificate.checks[-3:]
    assert (trials.offending, points.offending, metrics.offending) == (2, 2 * EPOCHS, EPOCHS - 1)
    assert points.first[0]["only_in"] == "b"


def test_root_with_an_unreadable_part_is_not_compared(tmp_path: Path) -> None:
    a, b = sweep_of(tmp_path / "a"), sweep_of(tmp_path / "b")
    RootLayout(b).part("trials", 0).write_bytes(b"PAR1")
    certificate = compare(a, b)
    assert failing(certificate) == [f"{b}: every part can be read, and its checksums hold"]
