import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from orchestrator.contracts import NothingLearnedError
from surrogates.importance import FEWEST_ROWS, Importance, importance
from surrogates.metadataset import MetaDataset
from tests.surrogates.synthetic import World, make


@pytest.fixture(scope="module")
def told() -> Importance:
    return importance(make(World(epochs=3)))


def line(*, noise: float, tasks: int = 4, configs: int = 60) -> MetaDataset:
    """Curves of one epoch whose loss is 3a + b and noise; c and the meta-feature do nothing."""
    rng = np.random.default_rng(0)
    points = rng.random((configs, 3))
    curves = [
        {
            "task_id": f"t{t}",
            "config_id": f"c{c}",
            "epoch": 1,
            "loss": float((1 - min(noise, 1)) * (3 * a + b) + noise * rng.normal()),
            "s": 1.0,
        }
        for t in range(tasks)
        for c, (a, b, _) in enumerate(points)
    ]
    declared = [{"config_id": f"c{i}", "a": a, "b": b, "c": c} for i, (a, b, c) in enumerate(points)]
    return MetaDataset.from_frames(
        pd.DataFrame(curves),
        pd.DataFrame(declared),
        pd.DataFrame({"task_id": [f"t{t}" for t in range(tasks)], "size": np.arange(tasks, dtype=float)}),
        space={name: {"min": 0.0, "max": 1.0} for name in "abc"},
        metric="loss",
        direction="minimise",
        cost="s",
    )


def test_what_decides_comes_first_and_what_does_nothing_last() -> None:
    told = importance(line(noise=0.0))
    assert [item.name for item in told.hyperparameters] == ["a", "b", "c"]
    a, b, c = (item.importance for item in told.hyperparameters)
    assert a > 2 * b > 3 * c
    assert told.r2 > 0.8
    assert told.is_trusted
    assert not told.features_help


def test_a_model_of_noise_is_not_trusted() -> None:
    told = importance(line(noise=1.0))
    assert told.r2 < 0.1
    assert not told.is_trusted


def test_a_meta_feature_that_moves_the_optimum_is_found_and_helps(told: Importance) -> None:
    assert told.meta_features[0].name == "hint"
    assert told.hyperparameters[0].name == "lr"
    assert told.features_help
    assert told.hyperparameters[0].specific > 0.5 * told.hyperparameters[0].general


def test_configs_known_by_heart_do_not_count_as_predicted() -> None:
    """The same random losses on every task: only who has seen a config can tell its score elsewhere."""
    rng = np.random.default_rng(1)
    quality = rng.normal(size=60)
    meta = line(noise=0.0)
    at = {f"c{place}": value for place, value in enumerate(quality)}
    config = meta.trials.set_index("trial_id")["config_id"]
    points = meta.points.assign(value=meta.points["trial_id"].map(config).map(at))
    assert importance(replace(meta, points=points)).r2 < 0.1


def test_meta_features_move_nothing_on_all_tasks_alike(told: Importance) -> None:
    for item in told.meta_features:
        assert item.general < 0.1 * told.hyperparameters[0].general


def test_importances_fall_and_lie_within_their_bounds(told: Importance) -> None:
    for items in (told.hyperparameters, told.meta_features):
        sizes = [item.importance for item in items]
        assert sizes == sorted(sizes, reverse=True)
        assert all(0 <= item.low <= item.importance <= item.high for item in items)


def test_every_hyperparameter_that_varies_is_told_once(told: Importance) -> None:
    names = [item.name for item in told.hyperparameters]
    assert sorted(names) == ["dropout", "lr", "momentum", "optim", "rank", "rslora"]
    assert [effect.name for effect in told.effects] == names


def test_effects_tell_which_values_are_good(told: Importance) -> None:
    by_name = {effect.name: effect for effect in told.effects}
    lr = by_name["lr"]
    assert max(lr.effects) in lr.effects[2:4]  # about 1e-3, as the tasks are made
    assert by_name["momentum"].values[-1] == "inactive"
    assert by_name["rank"].values == ("4", "8", "16", "32")
    assert all(sum(effect.counts) == 60 for effect in told.effects)


def test_one_task_is_judged_by_configs_left_out() -> None:
    told = importance(line(noise=0.0, tasks=1, configs=60))
    assert told.left_out == "configs"
    assert told.meta_features == ()
    assert told.r2 > 0.5
    assert not told.features_help


def test_too_little_is_refused_with_the_number() -> None:
    with pytest.raises(NothingLearnedError, match=rf"need {FEWEST_ROWS} finished trials .* there are 12"):
        importance(line(noise=0.0, tasks=2, configs=6))


def test_the_same_meta_dataset_gives_the_same_answer(told: Importance) -> None:
    again = importance(make(World(epochs=3)))
    assert again == told
    assert json.loads(json.dumps(told.as_dict()))["r2"] == told.r2
