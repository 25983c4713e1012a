import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cluster.connection import connected  # before Ray, whose authentication it settles

# isort: split
from ray import tune
from ray.tune.search import Searcher

from orchestrator.app.ray_tune_searcher import ForetuneSearcher, PlannedEpochs
from orchestrator.contracts import Config, InputError
from surrogates.data.space import Space
from tests.support.tuning import make_plan

CHECKOUT = Path(__file__).resolve().parents[3]
DECLARED: dict[str, Any] = {
    "lr": {"min": 1e-5, "max": 1e-1, "log": True},
    "rank": [4, 8, 16],
    "layers": {"min": 1, "max": 12, "integer": True},
    "optim": ["adamw", "sgd"],
    "momentum": {"min": 0.0, "max": 0.9, "when": {"optim": ["sgd"]}},
    "version": 3,
}
SPACE = Space(DECLARED)
CONFIGS: list[Config] = [config for config in SPACE.sample(20, seed=1)]
STEPS = [(2, 2), (0, 1), (1, 3), (0, 4)]


def same_space() -> dict[str, Any]:
    """The declared space in Tune's words."""
    return {
        "lr": tune.loguniform(1e-5, 1e-1),
        "rank": tune.choice([4, 8, 16]),
        "layers": tune.randint(1, 13),
        "optim": tune.choice(["sgd", "adamw"]),
        "momentum": tune.uniform(0.0, 0.9),
        "version": 3,
        "data": "/data",
    }


def make_searcher() -> ForetuneSearcher:
    return ForetuneSearcher(make_plan(STEPS, configs=CONFIGS), SPACE)


@pytest.fixture
def searcher() -> ForetuneSearcher:
    return make_searcher()


def suggestions(searcher: ForetuneSearcher) -> list[Any]:
    found = []
    while (suggestion := searcher.suggest(f"trial-{os.urandom(4).hex()}")) != Searcher.FINISHED:
        found.append(suggestion)
    return found


EXPECTED = [{**CONFIGS[number], "epochs": epochs} for number, epochs in [(2, 2), (0, 4), (1, 3)]]


def test_searcher_suggests_each_config_of_the_plan_once_in_its_order_with_its_most_epochs(
    searcher: ForetuneSearcher,
) -> None:
    assert len(searcher) == 3
    assert suggestions(searcher) == EXPECTED


def test_results_change_nothing_of_what_is_suggested(searcher: ForetuneSearcher) -> None:
    seen = []
    for number in range(3):
        seen.append(searcher.suggest(f"t{number}"))
        searcher.on_trial_result(f"t{number}", {"loss": float("nan")})
        searcher.on_trial_complete(f"t{number}", None, error=True)
    assert seen == EXPECTED


@pytest.mark.parametrize("taken", [0, 1, 2, 3])
def test_restored_searcher_goes_on_where_it_was_saved(
    searcher: ForetuneSearcher, tmp_path: Path, taken: int
) -> None:
    for number in range(taken):
        searcher.suggest(f"t{number}")
    searcher.save(str(tmp_path / "state.pkl"))
    other = ForetuneSearcher(make_plan([(5, 1)]), SPACE)
    other.restore(str(tmp_path / "state.pkl"))
    assert suggestions(other) == EXPECTED[taken:]


def test_state_is_never_unpickled(searcher: ForetuneSearcher, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "exploded"),)

    path = tmp_path / "state.pkl"
    for content in (pickle.dumps(Bomb()), b"{}", b"[1]", b'{"format": 2}'):
        path.write_bytes(content)
        with pytest.raises(InputError, match="is no state of this searcher"):
            searcher.restore(str(path))
    assert not (tmp_path / "exploded").exists()
    assert suggestions(searcher) == EXPECTED


def test_state_of_another_space_is_refused(searcher: ForetuneSearcher, tmp_path: Path) -> None:
    searcher.save(str(tmp_path / "state.pkl"))
    other = ForetuneSearcher(make_plan([]), Space({"lr": DECLARED["lr"]}))
    with pytest.raises(InputError, match="is not in the declared space"):
        other.restore(str(tmp_path / "state.pkl"))


def test_space_that_was_learned_in_is_taken_and_leaves_nothing_for_tune_to_sample(
    searcher: ForetuneSearcher,
) -> None:
    config = same_space()
    assert searcher.set_search_properties("loss", "min", config)
    assert config == {"version": 3, "data": "/data"}
    assert (searcher.metric, searcher.mode) == ("loss", "min")
    assert searcher.set_search_properties(None, None, {"data": "/data"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": tune.loguniform(1e-5, 1e-2)}, r"lr: is \(1e-05, 0.01\) here and \(1e-05, 0.1\), log there"),
        ({"lr": tune.uniform(1e-5, 1e-1)}, "lr: is "),
        ({"lr": tune.qloguniform(1e-5, 1e-1, 1e-5)}, "lr: is "),
        ({"lr": 0.1}, r"lr: is fixed to 0.1; plan with candidates"),
        ({"rank": tune.choice([4, 8])}, r"rank: is \[4, 8\] here and \[4, 8, 16\] there"),
        ({"rank": tune.choice([4.0, 8.0, 16.0])}, "rank: is "),
        ({"rank": tune.grid_search([4, 8, 16])}, "rank: a nested or grid search"),
        ({"layers": tune.randint(1, 12)}, "layers: is "),
        ({"layers": tune.uniform(1, 12)}, "layers: is "),
        ({"version": 4}, "version: is fixed to 4"),
        ({"dropout": tune.uniform(0, 1)}, "dropout: was not learned"),
        ({"momentum": None}, "momentum: is missing"),
    ],
)
def test_other_search_space_is_refused_with_what_differs(
    searcher: ForetuneSearcher, change: dict[str, Any], message: str
) -> None:
    config = {name: value for name, value in (same_space() | change).items() if value is not None}
    with pytest.raises(InputError, match=f"not the space that was learned in(.|\n)*{message}"):
        searcher.set_search_properties(None, None, config)


def test_hyperparameter_with_the_name_of_the_epochs_is_refused() -> None:
    space = Space({"epochs": [1, 2]})
    with pytest.raises(InputError, match="give the planned epochs another epochs_name"):
        ForetuneSearcher(make_plan([]), space)
    assert len(ForetuneSearcher(make_plan([]), space, epochs_name="planned")) == 0


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(300)
def test_tune_runs_the_plan_each_trial_to_its_own_epochs(tmp_path: Path) -> None:
    done = run(["-m", "tests.orchestrator.app.test_ray_tune_searcher", str(tmp_path / "storage")], CHECKOUT)
    ran = json.loads(done.splitlines()[-1])
    assert [result["config"] for result in ran] == [{**expected, "data": "/data"} for expected in EXPECTED]
    assert [result["training_iteration"] for result in ran] == [2, 4, 3]
    (state,) = (tmp_path / "storage" / "run").glob("searcher-state-*.pkl")
    again = ForetuneSearcher(make_plan([]), SPACE)
    again.restore(str(state))
    assert suggestions(again) == []


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_example_runs_as_it_stands(tmp_path: Path) -> None:
    output = run([str(CHECKOUT / "examples" / "ray_tune_searcher.py")], tmp_path)
    assert re.search(r"[2-9] trials on task-4; best loss: \d\.\d+\n\{'lr': ", output)
    assert list(tmp_path.iterdir()) == []


def run(arguments: list[str], folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def endless(config: dict[str, Any]) -> None:
    """Report until it is stopped."""
    while True:
        tune.report({"loss": float(config["lr"])})


def main(storage: str) -> None:
    """Run the plan with Tune; a process of its own, since Ray stays as it was first imported."""
    with connected(cpus=2):
        results = tune.Tuner(
            endless,
            param_space=same_space(),
            tune_config=tune.TuneConfig(
                search_alg=make_searcher(), num_samples=-1, max_concurrent_trials=1, metric="loss", mode="min"
            ),
            run_config=tune.RunConfig(storage_path=storage, name="run", stop=PlannedEpochs(), verbose=0),
        ).fit()
    keys = ("config", "training_iteration")
    reported = [results[place].metrics or {} for place in range(len(results))]
    found = [{key: metrics[key] for key in keys} for metrics in reported]
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
