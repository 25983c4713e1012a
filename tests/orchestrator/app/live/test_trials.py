"""Live trials one by one: what they measure, what they are charged, how they end."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from orchestrator.app.finetune import finetuning_spec
from orchestrator.app.live.clock import OwnClock
from orchestrator.app.live.curves import LiveCurves
from orchestrator.app.live.trials import open_trials
from orchestrator.app.roots import planned_trials
from orchestrator.app.spec import SweepSpec
from orchestrator.app.sweep import run_sweep
from orchestrator.contracts import (
    Config,
    Lease,
    Outcome,
    Report,
    TrialEnded,
    TrialId,
    TrialPaused,
    config_id,
)
from orchestrator.metadataset.reader import MetaDatasetReader
from orchestrator.metadataset.verify import compare, verify
from surrogates.metadataset import MetaDataset
from tests.orchestrator.app.live.pasts import NEW, past_spec, rehearse
from tests.surrogates.synthetic import World, make
from workers.rehearsal import RehearsalTrainer
from workers.resident import resident_trainer
from workers.space import SearchSpace
from workers.training.control import Decision, TrainerControl

SPACE = SearchSpace.from_spec("tiny", {})
CONFIGS: tuple[Config, ...] = tuple(SPACE.sample(2, seed=3))
TINY = SweepSpec.model_validate(
    {
        "name": "past",
        "base_model": "tiny-phi3",
        "tasks": ["worlds:people"],
        "configs": {"count": 1},
        "seeds": [4],
        "epochs": 2,
        "training": {
            "examples_per_epoch": 8,
            "max_eval_examples": 4,
            "max_length_tokens": 96,
            "max_new_tokens": 8,
        },
    }
)


def test_a_live_trial_measures_bit_for_bit_what_a_sweep_does_however_it_is_asked_for(tmp_path: Path) -> None:
    live, swept = tmp_path / "live", tmp_path / "swept"
    first, second = (config_id(config) for config in CONFIGS)
    for asked in ([(first, 0, 1), (second, 0, 2)], [(first, 1, 2)]):  # the folder is opened twice
        with open_trials(live, NEW, CONFIGS, like=TINY, epochs=2, make_trainer=resident_trainer) as trials:
            for config, after, until in asked:
                rows = list(trials.rows(config, after=after, until=until, within_s=1e6))
                assert [row["epoch"] for row in rows] == list(range(after + 1, until + 1))
    assert run_sweep(
        finetuning_spec(NEW, CONFIGS, like=TINY, epochs=2, keep_adapters=0), swept, in_process=True
    ).is_done
    certificate = compare(live, swept)
    assert certificate.ok, certificate.render()
    assert certificate.counts["curves"] == 4
    assert set(MetaDatasetReader(live).curves()["seed"]) == {4}
    assert verify(live, planned=planned_trials(live)).ok


class Diverging(RehearsalTrainer):
    """Every trial fails in its second epoch, after a quarter of a second."""

    def train(self, pack: Sequence[Lease], control: TrainerControl) -> None:
        (lease,) = pack
        super().train(pack, FirstEpoch(control))
        ended = TrialEnded(
            trial_id=lease.trial.trial_id,
            attempt=lease.attempt,
            outcome=Outcome.DIVERGED,
            epochs=1,
            unreported_train_s=0.25,
            peak_memory_bytes=0,
            device="",
            error="it diverged",
        )
        control.report(ended)


@dataclass(frozen=True)
class FirstEpoch:
    """Lets a trial go after its first epoch, and tells nobody so."""

    control: TrainerControl

    def report(self, report: Report) -> None:
        if not isinstance(report, TrialPaused):
            self.control.report(report)

    def peek(self, trial_id: TrialId, attempt: int, epoch: int) -> Decision | None:
        return self.wait(trial_id, attempt, epoch)

    def wait(self, trial_id: TrialId, attempt: int, epoch: int) -> Decision:
        return Decision.TRAIN_ON if epoch < 1 else Decision.PAUSE

    def beat(self) -> None:
        """Need no sign of life."""

    def acknowledged_epoch(self, trial_id: TrialId, attempt: int) -> int:
        return self.control.acknowledged_epoch(trial_id, attempt)


def test_a_failure_is_charged_told_as_no_number_and_stays_on_record(tmp_path: Path) -> None:
    spec = past_spec(epoch_s=0.002)
    past = MetaDataset.from_root(rehearse(tmp_path / "past", epoch_s=0.002, configs=2))
    for _ in range(2):
        with open_trials(
            tmp_path / "live", NEW, CONFIGS, like=spec, epochs=3, make_trainer=Diverging
        ) as trials:
            curves = LiveCurves(past, trials, CONFIGS, 3)
            epochs = list(curves.epochs(0, after=0, until=3, within_s=9.0))
            assert [epoch.epoch for epoch in epochs] == [1, 2]
            assert np.isnan(epochs[1].value)
            assert epochs[1].cost_s == pytest.approx(0.25)
            assert not curves.is_over(0, 1)
            assert curves.is_over(0, 2)
    assert list(MetaDatasetReader(tmp_path / "live").trials()["outcome"]) == ["diverged"]


def test_methods_are_asked_about_what_the_past_is_about(tmp_path: Path) -> None:
    past = make(World(tasks=2, configs=3, epochs=2))
    with open_trials(
        tmp_path, NEW, CONFIGS, like=past_spec(epoch_s=0.0), epochs=3, make_trainer=RehearsalTrainer
    ) as trials:
        problem = LiveCurves(past, trials, CONFIGS, 3).problem(5.0)
    assert problem.candidates == CONFIGS
    assert (problem.budget_s, problem.max_epochs, problem.direction) == (5.0, 3, past.direction)


def test_the_own_clock_stands_still_while_others_have_the_cores() -> None:
    walls, cpus = iter([0.0, 5.0, 6.0, 7.0]), iter([0.0, 1.0, 4.0, 4.5])
    clock = OwnClock(lambda: next(walls), lambda: next(cpus))
    assert [clock(), clock(), clock()] == [1.0, 2.0, 2.5]
