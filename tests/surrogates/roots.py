"""A sweep's root with trials that were never trained, written through the real ledger."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ConfigSpace import Categorical, ConfigurationSpace, Float

from orchestrator.contracts import (
    Config,
    CurvePoint,
    Outcome,
    TaskId,
    TaskRecord,
    TrainingSettings,
    Trial,
    TrialResult,
    WorkerId,
)
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.ledger import Ledger

SPACE = ConfigurationSpace(
    space={
        "learning_rate": Float("learning_rate", (1e-5, 1e-1), log=True),
        "optim": Categorical("optim", ["adamw", "lion"]),
    }
)
SPACE_JSON = json.dumps({"format": 1, "configspace": SPACE.to_serialized_dict()})
EPOCHS = 3


def write_root(root: Path, *, tasks: int, configs: int, first_task: int = 0) -> None:
    """Write, or add to, a root: the last config diverges, and one more trial a task ends in our own error."""
    rates = np.geomspace(1e-4, 3e-2, configs)
    listed: list[Config] = [
        {"learning_rate": float(rate), "optim": "lion" if place % 2 else "adamw"}
        for place, rate in enumerate(rates)
    ]
    failed: Config = {"learning_rate": 0.05, "optim": "lion"}
    write_trials(root, SPACE_JSON, tasks=range(first_task, first_task + tasks), configs=listed, failed=failed)


def write_trials(
    root: Path, space_json: str, *, tasks: Sequence[int], configs: Sequence[Config], failed: Config
) -> None:
    """Write, or add to, a root: every config on every task, of which the last diverges; one more fails."""
    layout = RootLayout(root)
    layout.space_json.write_text(space_json)
    rng = np.random.default_rng(tasks[0])
    with Ledger.open(root) as ledger:
        for number in tasks:
            ledger.record_task(a_task(number))
            for place, config in enumerate(configs):
                outcome = Outcome.DIVERGED if place == len(configs) - 1 else Outcome.COMPLETED
                _write_trial(ledger, a_trial(number, config), outcome, rng)
            _write_trial(ledger, a_trial(number, failed), Outcome.FAILED, rng)


def _write_trial(ledger: Ledger, trial: Trial, outcome: Outcome, rng: np.random.Generator) -> None:
    attempt = ledger.grant(trial.trial_id, WorkerId("w"))
    ledger.record_started(trial.trial_id, attempt)
    epochs = EPOCHS if outcome is Outcome.COMPLETED else 1
    rate = next(float(v) for name, v in trial.config.items() if name.endswith("learning_rate"))  # type: ignore[arg-type]
    for epoch in range(1, epochs + 1):
        loss = float((np.log10(rate) + 2.5) ** 2 + 2.0 / epoch + 0.01 * rng.random())
        ledger.record_point(a_point(trial, attempt, epoch, loss))
    ledger.record_result(a_result(trial, attempt, outcome, epochs))
    ledger.commit()


def a_trial(number: int, config: Config) -> Trial:
    return Trial(
        task_id=TaskId(f"task-{number}"),
        task_source=f"worlds:{number}",
        task_name=f"task {number}",
        config=config,
        seed=0,
        base_model="tiny-phi3",
        base_fingerprint="base-1",
        space_version="v1",
        settings=TrainingSettings(horizon_epochs=EPOCHS),
        max_epochs=EPOCHS,
    )


def a_point(trial: Trial, attempt: int, epoch: int, loss: float) -> CurvePoint:
    score = float(np.exp(-loss))
    return CurvePoint(
        trial_id=trial.trial_id,
        attempt=attempt,
        task_id=trial.task_id,
        config_id=trial.config_id,
        seed=0,
        epoch=epoch,
        step=10 * epoch,
        tokens=100 * epoch,
        train_loss=loss,
        eval_loss=loss,
        eval_exact_match=score,
        eval_token_f1=score,
        test_loss=loss,
        test_exact_match=score,
        test_token_f1=score,
        train_s=0.5,
        eval_s=0.25,
        cpu_s=0.75,
        peak_memory_bytes=1,
        device="cpu",
    )


def a_result(trial: Trial, attempt: int, outcome: Outcome, epochs: int) -> TrialResult:
    return TrialResult(
        trial=trial,
        attempt=attempt,
        outcome=outcome,
        epochs=epochs,
        train_s=0.5 * epochs,
        eval_s=0.25 * epochs,
        peak_memory_bytes=1,
        device="cpu",
        error=None if outcome is Outcome.COMPLETED else "it broke",
        finished_at="2026-11-21T12:00:00+00:00",
        provenance={},
    )


def a_task(number: int) -> TaskRecord:
    return TaskRecord(
        task_id=TaskId(f"task-{number}"),
        name=f"task {number}",
        source=f"worlds:{number}",
        base_fingerprint="base-1",
        train_examples=10,
        eval_examples=1,
        test_examples=1,
        meta_features={"rows": 10.0 + number, "loss": 3.0 - 0.1 * number, "unknown": float("nan")},
    )
