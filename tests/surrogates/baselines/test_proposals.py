"""Whether what the libraries are told reaches what they propose, and past tasks what they choose."""

from dataclasses import replace
from typing import Any

import numpy as np
import optuna
import pytest

from orchestrator.contracts import Config
from surrogates.baselines import dehb
from surrogates.baselines.conversion import Conversion
from surrogates.baselines.dehb import Dehb
from surrogates.baselines.synetune import SyneTuneQuantile, SyneTuneZeroShot
from surrogates.baselines.tpe import Tpe
from surrogates.data.normalisation import Direction
from surrogates.metadataset import MetaDataset
from surrogates.stepwise import Method, Problem, Step
from tests.surrogates.baselines.driver import Recording, run
from tests.surrogates.synthetic import World, make


@pytest.fixture(scope="module")
def past() -> MetaDataset:
    return make(World(tasks=6, configs=60, epochs=3, strength=0.2))


def _lr(config: Config) -> float:
    value = config["lr"]
    assert isinstance(value, float)
    return value


def _bowl(max_epochs: int, direction: Direction) -> Recording:
    """Candidates that differ in two names; the loss is a learning rate's distance from 1e-4, in decades."""
    rng = np.random.default_rng(7)
    candidates: tuple[Config, ...] = tuple(
        {"lr": float(10.0 ** rng.uniform(-5.0, -1.0)), "dropout": float(rng.uniform(0.0, 0.2))}
        for _ in range(150)
    )
    losses = np.array([abs(np.log10(_lr(config)) + 4.0) for config in candidates])
    curves = losses[:, None] + 1.0 / np.arange(1, max_epochs + 1)
    return Recording(
        problem=Problem(
            features={}, candidates=candidates, budget_s=1.0, max_epochs=max_epochs, direction=direction
        ),
        values=curves if direction is Direction.MINIMISE else -curves,
        cost_s=np.ones(len(candidates)),
    )


def _firsts(steps: list[Step]) -> list[int]:
    return list(dict.fromkeys(step.candidate for step in steps))


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("method", [Dehb(), Tpe()], ids=["DEHB", "TPE"])
def test_a_library_proposes_better_configs_once_it_has_been_told_results(
    method: Method, direction: Direction, past: MetaDataset
) -> None:
    recorded = _bowl(3, direction)
    losses = np.abs(recorded.values[:, -1])
    early, late = [], []
    for seed in range(3):
        firsts = _firsts(run(method.learn(past, seed=seed), recorded, most=90))
        early.append(losses[firsts[:10]].mean())
        late.append(losses[firsts[20:40]].mean())
    assert np.mean(late) < 0.75 * np.mean(early)


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("method", [SyneTuneZeroShot(), SyneTuneQuantile()], ids=lambda method: method.name)
def test_a_transfer_method_begins_with_what_did_well_on_past_tasks(
    method: Method, direction: Direction, past: MetaDataset
) -> None:
    others, target = past.without(["t0"]), past.without(["t1", "t2", "t3", "t4", "t5"])
    best = (
        target.points.merge(target.trials[["trial_id", "config_id"]], on="trial_id")
        .groupby("config_id")["value"]
        .min()
    )
    candidates = tuple(past.configs[key] for key in best.index)
    recorded = Recording(
        problem=Problem(
            features={}, candidates=candidates, budget_s=1.0, max_epochs=3, direction=Direction.MINIMISE
        ),
        values=np.ones((len(candidates), 3)),
        cost_s=np.ones(len(candidates)),
    )
    start = method.learn(_negated(others) if direction is Direction.MAXIMISE else others, seed=0)
    places = best.rank(pct=True).to_numpy()
    firsts = _firsts(run(start, recorded, most=5))
    assert places[firsts].mean() < 0.25


def _negated(meta: MetaDataset) -> MetaDataset:
    return replace(meta, direction=Direction.MAXIMISE, points=meta.points.assign(value=-meta.points["value"]))


def test_what_one_fit_of_the_quantile_method_learned_is_not_changed_by_another(past: MetaDataset) -> None:
    recorded = _bowl(3, Direction.MINIMISE)
    method = SyneTuneQuantile()
    first = method.learn(past, seed=0)
    before = run(first, recorded, most=20)
    method.learn(_negated(past).without(["t0"]), seed=1)
    assert run(first, recorded, most=20) == before


def test_tpe_takes_a_failure_for_the_worst(past: MetaDataset) -> None:
    recorded = _bowl(3, Direction.MINIMISE)
    fails = np.array([_lr(config) > 1e-3 for config in recorded.problem.candidates])
    values = np.where(fails[:, None], np.nan, recorded.values)
    broken = Recording(problem=recorded.problem, values=values, cost_s=recorded.cost_s)
    firsts = _firsts(run(Tpe().learn(past, seed=0), broken, most=120))
    assert fails[firsts[:15]].mean() > 0.2
    assert fails[firsts[15:45]].mean() < 0.5 * fails[firsts[:15]].mean()


def test_tpe_learns_of_a_candidate_under_its_own_values(
    past: MetaDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    studies: list[optuna.Study] = []
    create = optuna.create_study

    def kept(**options: Any) -> optuna.Study:
        studies.append(create(**options))
        return studies[-1]

    monkeypatch.setattr(optuna, "create_study", kept)
    recorded = _bowl(3, Direction.MINIMISE)
    steps = run(Tpe().learn(past, seed=0), recorded, most=40)
    told = [trial.params["lr"] for trial in studies[0].trials if trial.state.name != "FAIL"]
    assert told == [_lr(recorded.problem.candidates[place]) for place in _firsts(steps)]


def test_dehb_keeps_the_candidate_that_was_run_in_its_population(
    past: MetaDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversion, told = Conversion(past.space), list[float]()
    axis = conversion.names.index("lr")
    library = dehb._library()

    class Kept(library):  # type: ignore[misc, valid-type]
        def tell(self, job_info: dict[str, Any], result: dict[str, Any], replay: bool = False) -> None:
            told.append(float(job_info["config"][axis]))
            super().tell(job_info, result, replay)

    monkeypatch.setattr(dehb, "_library", lambda: Kept)
    recorded = _bowl(3, Direction.MINIMISE)
    steps = run(Dehb().learn(past, seed=0), recorded, most=40)
    assert told == [conversion.to_unit(recorded.problem.candidates[step.candidate])[axis] for step in steps]


def test_dehb_goes_on_when_a_whole_rung_failed(past: MetaDataset) -> None:
    recorded = _bowl(9, Direction.MINIMISE)
    broken = Recording(
        problem=recorded.problem, values=np.full(recorded.values.shape, np.nan), cost_s=recorded.cost_s
    )
    assert len(run(Dehb().learn(past, seed=0), broken)) == len(recorded.problem.candidates)
