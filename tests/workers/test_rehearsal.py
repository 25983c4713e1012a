import json
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.contracts import (
    METRIC_COLUMNS,
    CurvePoint,
    InputError,
    Lease,
    Outcome,
    TaskId,
    TrainingSettings,
    Trial,
    TrialPaused,
)
from tests.support.control import RecordingControl
from workers.models.location import base_fingerprint, rehearsal_epoch_s
from workers.rehearsal import RehearsalTrainer
from workers.training.control import Decision


def a_lease(*, base_model: str = "rehearsal:0.001", attempt: int = 0, committed: int = 0) -> Lease:
    trial = Trial(
        task_id=TaskId("t" * 20),
        task_source="worlds:towns",
        task_name="towns",
        config={"r": 8},
        seed=0,
        base_model=base_model,
        base_fingerprint="f",
        space_version="v",
        settings=TrainingSettings(horizon_epochs=5),
        max_epochs=5,
    )
    return Lease(
        trial=trial, attempt=attempt, run_until_epoch=5, committed_epochs=committed, keep_adapter=False
    )


def metrics(points: list[CurvePoint]) -> list[tuple[object, ...]]:
    return [tuple(getattr(point, name) for name in ("epoch", *METRIC_COLUMNS)) for point in points]


def test_curve_is_a_function_of_the_trial(tmp_path: Path) -> None:
    first, second = RecordingControl(), RecordingControl()
    RehearsalTrainer(tmp_path / "a").train([a_lease()], first)
    RehearsalTrainer(tmp_path / "b").train([a_lease(base_model="rehearsal")], second)
    assert metrics(first.points) == metrics(second.points)
    assert [point.epoch for point in first.points] == [1, 2, 3, 4, 5]
    assert first.ended.outcome is Outcome.COMPLETED


def test_interrupted_trial_goes_on_to_the_same_curve(tmp_path: Path) -> None:
    whole, before, after = RecordingControl(), RecordingControl(stop_at=2), RecordingControl()
    RehearsalTrainer(tmp_path / "whole").train([a_lease()], whole)
    trainer = RehearsalTrainer(tmp_path / "cut")
    trainer.train([a_lease()], before)
    assert before.ended.outcome is Outcome.STOPPED
    trainer.train([a_lease(attempt=1, committed=1)], after)
    assert metrics(before.points[:1] + after.points) == metrics(whole.points)


def test_wrong_state_shows_in_the_numbers(tmp_path: Path) -> None:
    whole, before, after = RecordingControl(), RecordingControl(stop_at=2), RecordingControl()
    RehearsalTrainer(tmp_path / "whole").train([a_lease()], whole)
    trainer = RehearsalTrainer(tmp_path / "cut")
    trainer.train([a_lease()], before)
    [checkpoint] = (tmp_path / "cut").rglob("rehearsal.json")
    states = json.loads(checkpoint.read_text())
    checkpoint.write_text(json.dumps([*states[:-1], "0" * 64]))
    trainer.train([a_lease(attempt=1, committed=2)], after)
    assert metrics(after.points) != metrics(whole.points[2:])


def test_damaged_or_later_checkpoint_is_not_used(tmp_path: Path) -> None:
    trainer = RehearsalTrainer(tmp_path)
    trainer.train([a_lease(attempt=3)], RecordingControl(stop_at=2))
    control = RecordingControl()
    trainer.train([a_lease(attempt=1)], control)
    assert [point.epoch for point in control.points] == [1, 2, 3, 4, 5]
    for path in tmp_path.rglob("rehearsal.json"):
        path.write_text("[")
    again = RecordingControl()
    trainer.train([a_lease(attempt=4)], again)
    assert metrics(again.points) == metrics(control.points)


def test_pause_is_said_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    class Pausing(RecordingControl):
        def peek(self, trial_id: object, attempt: int, epoch: int) -> Decision | None:
            return Decision.PAUSE if epoch >= 1 else Decision.TRAIN_ON

    control = Pausing()
    lease = a_lease()
    RehearsalTrainer(tmp_path).train([lease], control)
    assert control.reports[-1] == TrialPaused(trial_id=lease.trial.trial_id, attempt=0)
    assert list(tmp_path.rglob("rehearsal.json"))


def test_release_removes_the_checkpoints_of_attempts_up_to_one(tmp_path: Path) -> None:
    trainer = RehearsalTrainer(tmp_path)
    lease = a_lease()
    for attempt in (0, 1):
        trainer.train([replace(lease, attempt=attempt)], RecordingControl(stop_at=1 + attempt))
    trainer.release(lease.trial.trial_id, 0)
    assert [path.parent.name for path in tmp_path.rglob("rehearsal.json")] == ["attempt-1"]


@pytest.mark.parametrize(
    ("name", "seconds"), [("rehearsal", 0.0), ("rehearsal:0.5", 0.5), ("tiny-phi3", None)]
)
def test_duration_of_an_epoch_stands_in_the_base_models_name(name: str, seconds: float | None) -> None:
    assert rehearsal_epoch_s(name) == seconds


@pytest.mark.parametrize("name", ["rehearsal:", "rehearsal:fast", "rehearsal:-1", "rehearsal:inf"])
def test_duration_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="the seconds an epoch takes"):
        base_fingerprint(name)
