import random
import tempfile
from pathlib import Path

import numpy as np
import pytest

from orchestrator.contracts import Config, InputError
from surrogates import baselines
from surrogates.baselines import available, libraries
from surrogates.data.normalisation import Direction
from surrogates.data.space import Space
from surrogates.metadataset import MetaDataset
from surrogates.stepwise import Method
from tests.surrogates.baselines.driver import Recording, recording, run, steps_of
from tests.surrogates.synthetic import SPACE, World, make

METHODS = {method.name: method for method in available()[0]}
ENDS_EARLY = {"zero-shot", "default", "HyperBand", "TPE"}
"""Methods that may stop before every candidate was run to the end."""
each_method = pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))


@pytest.fixture(scope="module")
def past() -> MetaDataset:
    return make(World(tasks=4, configs=24, epochs=4))


def _configs(past: MetaDataset, known: int, fresh: int) -> tuple[Config, ...]:
    return (*list(past.configs.values())[:known], *Space(SPACE).sample(fresh, seed=99)[:fresh])


def _check(method: Method, past: MetaDataset, recorded: Recording) -> None:
    steps = steps_of(method, past, recorded)
    last: dict[int, int] = {}
    for step in steps:
        last[step.candidate] = step.epochs
    if method.name in ENDS_EARLY:
        return
    full = recorded.problem.max_epochs
    failed = np.asarray(np.isnan(recorded.values).any(axis=1))
    for candidate in range(len(recorded.problem.candidates)):
        assert last.get(candidate, 0) == full or failed[candidate]


def test_every_method_is_here_under_its_own_name() -> None:
    methods, without = available()
    assert without == []
    assert len({method.name for method in methods}) == len(methods) == 14


@each_method
@pytest.mark.parametrize("direction", Direction)
def test_a_method_asks_only_for_what_can_be_run_and_does_so_again_with_the_same_seed(
    method: Method, direction: Direction, past: MetaDataset
) -> None:
    recorded = recording(
        configs=_configs(past, 12, 12),
        max_epochs=9,
        direction=direction,
        failures=0.2,
        features={"hint": 3.0},
    )
    _check(method, past, recorded)
    start = method.learn(past, seed=3)
    assert run(start, recorded) == run(start, recorded) == run(method.learn(past, seed=3), recorded)


@each_method
def test_a_method_chooses_the_same_for_a_metric_and_for_its_negative(
    method: Method, past: MetaDataset
) -> None:
    down, up = (
        recording(configs=_configs(past, 12, 4), direction=direction, failures=0.2) for direction in Direction
    )
    assert run(method.learn(past, seed=0), down) == run(method.learn(past, seed=0), up)


@each_method
@pytest.mark.parametrize(
    ("known", "fresh", "max_epochs", "failures"),
    [
        (1, 0, 9, 0.0),
        (0, 1, 1, 1.0),
        (2, 0, 2, 0.5),
        (8, 0, 6, 1.0),
        (0, 15, 3, 0.1),
        (6, 6, 1, 0.1),
        (0, 40, 9, 1.0),
    ],
)
def test_a_method_works_with_few_candidates_few_epochs_and_failures(
    method: Method, known: int, fresh: int, max_epochs: int, failures: float, past: MetaDataset
) -> None:
    recorded = recording(configs=_configs(past, known, fresh), max_epochs=max_epochs, failures=failures)
    _check(method, past, recorded)


@each_method
def test_a_method_works_with_two_hundred_candidates(method: Method, past: MetaDataset) -> None:
    recorded = recording(configs=_configs(past, 10, 190), max_epochs=9, budget_s=400.0)
    steps = run(method.learn(past, seed=0), recorded, most=120)
    assert len(steps) == {"zero-shot": 0, "default": 1}.get(method.name, 120)


@each_method
def test_a_method_leaves_global_randomness_the_terminal_and_the_disk_alone(
    method: Method,
    past: MetaDataset,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    recorded = recording(configs=_configs(past, 6, 4), failures=0.3)
    np.random.seed(5)
    random.seed(5)
    expected = np.random.random(), random.random()
    np.random.seed(5)
    random.seed(5)
    steps_of(method, past, recorded)
    assert (np.random.random(), random.random()) == expected
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


@each_method
def test_a_method_works_when_the_past_says_nothing(method: Method, past: MetaDataset) -> None:
    nothing = past.without([task.task_id for task in past.tasks])
    recorded = recording(configs=_configs(past, 4, 4), failures=0.1)
    _check(method, nothing, recorded)


@each_method
def test_a_method_that_looks_at_no_result_is_the_same_whatever_comes_of_it(
    method: Method, past: MetaDataset
) -> None:
    configs = _configs(past, 12, 12)
    one, other = (recording(seed=seed, configs=configs, failures=0.0) for seed in (1, 2))
    start = method.learn(past, seed=0)
    looks = {"one-epoch top-K", "ASHA", "HyperBand", "DEHB", "TPE"}
    assert (run(start, one) == run(start, other)) is (method.name not in looks)


def test_a_missing_library_is_told_and_the_method_refuses(
    monkeypatch: pytest.MonkeyPatch, past: MetaDataset
) -> None:
    monkeypatch.setattr(libraries, "missing", lambda *packages: packages)
    monkeypatch.setattr(baselines, "missing", lambda *packages: packages)
    methods, without = available()
    assert [method.name for method in methods][-1] == "ASHA"
    assert "DEHB is left out: dehb is not installed; pip install 'foretune[peers]'" in without
    for name in ("HyperBand", "DEHB", "TPE", "Syne Tune zero-shot", "Syne Tune quantile"):
        with pytest.raises(InputError, match=r"is not installed; pip install 'foretune\[peers\]'"):
            METHODS[name].learn(past, seed=0)
