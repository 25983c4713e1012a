"""Records to write, a small sweep to run, and crashes to run it into."""

import hashlib
import struct
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.contracts import (
    CurvePoint,
    Outcome,
    TaskId,
    TaskRecord,
    TrainingSettings,
    Trial,
    TrialId,
    TrialResult,
    WorkerId,
)
from orchestrator.metadataset.durable import Fault
from orchestrator.metadataset.ledger import Ledger
from orchestrator.metadataset.reader import MetaDatasetReader
from orchestrator.metadataset.schema import Table

EPOCHS = 3
WORKER = WorkerId("worker-0")


class Crash(BaseException):
    """The process dies here; nothing may catch it."""


class CrashAt:
    """A fault that lets so many steps happen and dies at the next."""

    def __init__(self, steps: int | None) -> None:
        self.left = steps
        self.seen: list[str] = []

    def __call__(self, point: str) -> None:
        self.seen.append(point)
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Crash(point)


def a_trial(index: int = 0, epochs: int = EPOCHS) -> Trial:
    return Trial(
        task_id=TaskId(f"task{index % 2}"),
        task_source=f"worlds:{index % 2}",
        task_name=f"name{index % 2}",
        config={"learning_rate": 1e-4 * (1 + index), "rank": 8, "bias": False},
        seed=7,
        base_model="tiny-phi3",
        base_fingerprint="fingerprint",
        space_version="v1",
        settings=TrainingSettings(horizon_epochs=epochs),
        max_epochs=epochs,
    )


def a_point(trial: Trial, epoch: int, attempt: int = 0, **changes: Any) -> CurvePoint:
    """A point whose metrics depend on trial and epoch alone, as a real trial's do."""
    digest = hashlib.sha256(f"{trial.trial_id} {epoch}".encode()).digest()
    numbers = [value / 2**32 for value in struct.unpack("<8I", digest)]
    point = CurvePoint(
        trial_id=trial.trial_id,
        attempt=attempt,
        task_id=trial.task_id,
        config_id=trial.config_id,
        seed=trial.seed,
        epoch=epoch,
        step=10 * epoch,
        tokens=1000 * epoch,
        train_loss=numbers[0],
        eval_loss=numbers[1],
        eval_exact_match=numbers[2],
        eval_token_f1=numbers[3],
        test_loss=numbers[4],
        test_exact_match=numbers[5],
        test_token_f1=numbers[6],
        train_s=0.5,
        eval_s=0.25,
        cpu_s=0.75,
        peak_memory_bytes=2**30,
        device="cpu",
        eval_rouge_l=numbers[7],
        test_rouge_l=numbers[6],
        eval_judge=None,
        generation_s=0.125,
    )
    return replace(point, **changes)


def a_result(
    trial: Trial, attempt: int = 0, *, outcome: Outcome = Outcome.COMPLETED, epochs: int = EPOCHS
) -> TrialResult:
    return TrialResult(
        trial=trial,
        attempt=attempt,
        outcome=outcome,
        epochs=epochs,
        train_s=0.5 * epochs,
        eval_s=0.25 * epochs,
        peak_memory_bytes=2**30,
        device="cpu",
        error=None if outcome.is_success else "ValueError: loss is nan",
        finished_at="2026-11-21T12:00:00+00:00",
        provenance={"code": "abc", "host": "node"},
    )


def a_task(index: int = 0) -> TaskRecord:
    return TaskRecord(
        task_id=TaskId(f"task{index}"),
        name=f"name{index}",
        source=f"worlds:{index}",
        base_fingerprint="fingerprint",
        train_examples=10,
        eval_examples=1,
        test_examples=1,
        meta_features={"answer_tokens": 1.5 + index, "zero_shot_loss": 3.25},
    )


class Sweep:
    """A driver in little: runs what a root lacks, one commit an epoch, and knows what was acknowledged."""

    def __init__(self, root: Path, trials: Sequence[Trial], *, seal_rows: int = 4) -> None:
        self.root = root
        self.trials = trials
        self.seal_rows = seal_rows
        self.acknowledged: set[tuple[TrialId, int]] = set()
        self.in_flight: set[tuple[TrialId, int]] = set()
        self.outcomes: set[TrialId] = set()

    def run(self, fault: Fault) -> None:
        with Ledger.open(self.root, fault=fault, publish_interval_s=0.0, seal_rows=self.seal_rows) as ledger:
            ledger.record_task(a_task(0))
            for trial in self.trials:
                if ledger.progress(trial.trial_id).outcome is None:
                    self._run_trial(ledger, trial)

    def _run_trial(self, ledger: Ledger, trial: Trial) -> None:
        attempt = ledger.grant(trial.trial_id, WORKER)
        ledger.commit()
        ledger.record_started(trial.trial_id, attempt)
        for epoch in range(ledger.progress(trial.trial_id).epochs + 1, trial.max_epochs + 1):
            ledger.record_point(a_point(trial, epoch, attempt))
            self._commit(ledger, (trial.trial_id, epoch))
        ledger.record_result(a_result(trial, attempt, epochs=trial.max_epochs))
        ledger.commit()
        self.outcomes.add(trial.trial_id)
        ledger.publish_if_due()

    def _commit(self, ledger: Ledger, key: tuple[TrialId, int]) -> None:
        self.in_flight = {key}
        ledger.commit()
        self.acknowledged |= self.in_flight
        self.in_flight = set()


def keys(root: Path, table: Table = Table.CURVES) -> list[tuple[object, ...]]:
    """The keys of a table's rows as a reader of Parquet sees them."""
    frame = MetaDatasetReader(root).table(table, columns=table.key)
    return list(frame.itertuples(index=False, name=None))


def committed(root: Path, points: Iterable[CurvePoint]) -> Path:
    """A root that holds these points, in one commit."""
    with Ledger.open(root) as ledger:
        for point in points:
            if ledger.progress(point.trial_id).attempt < point.attempt:
                ledger.grant(point.trial_id, WORKER)
            ledger.record_point(point)
    return root
