"""Whatever the extended space draws ends in an outcome, and in none that tells of a defect."""

from collections import Counter
from pathlib import Path

import pytest

from orchestrator.contracts import Config, Outcome, TrainingSettings, Trial, TrialEnded
from tests.support.control import RecordingControl
from tests.support.tiny import make_lease
from workers.models.base import base_fingerprint
from workers.space import SearchSpace
from workers.tasks.loading import load_task
from workers.training.trainer import Trainer

TASK = load_task("worlds:people")
EXPECTED = {Outcome.COMPLETED, Outcome.DIVERGED, Outcome.INVALID}
SETTINGS = TrainingSettings(
    horizon_epochs=2, examples_per_epoch=12, max_eval_examples=6, max_length_tokens=128, max_new_tokens=12
)


def ends(configs: list[Config], root: Path) -> list[TrialEnded]:
    """Train each config for an epoch in one worker, as a sweep would."""
    trainer = Trainer(root, load_task=lambda _: TASK, threads=1)
    ended = []
    for config in configs:
        trial = Trial(
            task_id=TASK.task_id,
            task_source="worlds:people",
            task_name=TASK.name,
            config=config,
            seed=0,
            base_model="tiny-phi3",
            base_fingerprint=base_fingerprint("tiny-phi3"),
            space_version="test",
            settings=SETTINGS,
            max_epochs=1,
        )
        control = RecordingControl()
        trainer.train([make_lease(trial)], control)
        trainer.release(trial.trial_id, 0)
        ended.append(control.ended)
    return ended


def check(configs: list[Config], root: Path) -> None:
    told = [(end.outcome, end.error) for end in ends(configs, root)]
    assert [end for end in told if end[0] not in EXPECTED] == []
    assert all(error for outcome, error in told if outcome is not Outcome.COMPLETED)
    outcomes = Counter(outcome for outcome, _ in told)
    assert outcomes[Outcome.COMPLETED] > len(configs) / 2


def test_drawn_configs_end_in_an_outcome(tmp_path: Path) -> None:
    check(SearchSpace.preset("tiny-extended").sample(16, seed=4), tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_three_hundred_drawn_configs_end_in_an_outcome(tmp_path: Path) -> None:
    check(SearchSpace.preset("tiny-extended").sample(300, seed=1), tmp_path)
