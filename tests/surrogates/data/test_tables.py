"""The columns of a meta-dataset, made from the tables of a root."""

import json
import math
from collections.abc import Collection, Mapping
from pathlib import Path

import pandas as pd
import pytest

from surrogates.data.tables import PastTask, learned_features, root_seconds, root_tasks, root_trials
from surrogates.metadataset import ROOT_FEATURES, ROOT_MACHINE_FEATURES, ROOT_WORKLOAD, MetaDataset
from surrogates.recommender import Recommender
from tests.surrogates.roots import write_root

MEASURED = {name: float(place) for place, name in enumerate((*ROOT_FEATURES, "probe_loss_drop"))}


def tasks_of(*measured: Mapping[str, float | None]) -> tuple[PastTask, ...]:
    ids = [f"task {place}" for place in range(len(measured))]
    texts = [json.dumps(features) for features in measured]
    described = pd.DataFrame({"task_id": ids, "name": ids, "meta_features": texts})
    return root_tasks(described, pd.DataFrame({"task_id": ids, "task_name": ids}))


def test_task_keeps_all_that_was_measured() -> None:
    (task,) = tasks_of({**MEASURED, "colour": None})
    assert {name: value for name, value in task.features.items() if name != "colour"} == MEASURED
    assert math.isnan(task.features["colour"])


def test_what_is_learned_from_is_what_is_named_however_much_was_measured() -> None:
    tasks = tasks_of(MEASURED)
    assert learned_features(tasks, ROOT_FEATURES) == tuple(sorted(ROOT_FEATURES))
    assert learned_features(tasks, ["probe_loss_drop", "unheard_of"]) == ("probe_loss_drop",)
    assert learned_features(tasks, None) is None
    assert learned_features(tasks, []) == ()


def test_root_of_before_some_were_measured_is_learned_from_by_those_it_has() -> None:
    old = {name: MEASURED[name] for name in ROOT_FEATURES[:11]}
    assert learned_features(tasks_of(old), ROOT_FEATURES) == tuple(sorted(old))
    assert learned_features(tasks_of(old, MEASURED), ROOT_FEATURES) == tuple(sorted(ROOT_FEATURES))


def test_root_that_has_none_of_them_is_learned_from_by_all_it_has() -> None:
    assert learned_features(tasks_of({"rows": 3.0, "colour": None}), ROOT_FEATURES) is None


def test_task_without_a_description_has_a_name_and_no_features() -> None:
    tasks = pd.DataFrame({"task_id": [], "name": [], "meta_features": []})
    (task,) = root_tasks(tasks, pd.DataFrame({"task_id": ["a"], "task_name": ["A"]}))
    assert (task.name, task.features) == ("A", {})


@pytest.mark.parametrize(
    ("features", "learned"),
    [(["rows"], ("rows",)), (None, ("loss", "rows")), ([], ()), (["x"], ("loss", "rows"))],
)
def test_meta_features_that_a_root_is_learned_from_can_be_chosen(
    features: Collection[str] | None, learned: tuple[str, ...], tmp_path: Path
) -> None:
    write_root(tmp_path, tasks=3, configs=4)
    meta = MetaDataset.from_root(tmp_path, features=features)
    assert all(task.features.keys() == {"rows", "loss", "unknown"} for task in meta.tasks)
    kept = meta.without([meta.tasks[0].task_id])
    assert kept.learned_features == meta.learned_features
    assert kept.machine_features == ROOT_MACHINE_FEATURES
    assert kept.workload == ROOT_WORKLOAD
    assert Recommender.fit(kept).features.names == learned


def test_on_a_cpu_what_others_took_of_the_cores_is_not_a_configs_cost() -> None:
    curves = pd.DataFrame(
        {
            "task_id": ["cpu", "cpu", "cpu", "gpu", "unknown"],
            "train_s": [2.0, 1.0, 1.0, 2.0, 2.0],
            "eval_s": [1.0, 0.5, 0.5, 1.0, 1.0],
            "cpu_s": [1.5, 6.0, float("nan"), 0.1, 0.1],
        }
    )
    tasks = [
        PastTask(task_id="cpu", name="a", features={"device_is_gpu": 0.0}),
        PastTask(task_id="gpu", name="b", features={"device_is_gpu": 1.0}),
        PastTask(task_id="unknown", name="c", features={}),
    ]
    # Starved of cores; several threads; not measured; a GPU's work is not the process's; it may be a GPU.
    assert root_seconds(curves, tasks).tolist() == [1.5, 1.5, 1.5, 3.0, 3.0]


def test_a_failed_trial_is_charged_its_epochs_cost_and_the_wall_of_the_epoch_that_left_none() -> None:
    points = pd.DataFrame({"trial_id": ["a", "a", "b"], "value": [1.0, 1.0, 1.0], "cost_s": [1.0, 1.0, 2.0]})
    walls = pd.Series([3.0, 2.0, 2.0])
    trials = pd.DataFrame(
        {
            "trial_id": ["a", "b", "c"],
            "task_id": "t",
            "config_id": ["1", "2", "3"],
            "seed": 0,
            "outcome": ["diverged", "completed", "diverged"],
            "train_s": [4.0, 1.5, 0.5],
            "eval_s": [1.5, 0.5, 0.25],
        }
    )
    # 5.5 s of wall, of which 3 went to other programs; nothing did; no point is known.
    assert root_trials(trials, points, walls)["cost_s"].tolist() == [2.5, 2.0, 0.75]
