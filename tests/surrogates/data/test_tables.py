"""The columns of a meta-dataset, made from the tables of a root."""

import json
import math
from collections.abc import Collection, Mapping
from pathlib import Path

import pandas as pd
import pytest

from surrogates.data.tables import root_tasks
from surrogates.metadataset import ROOT_FEATURES, MetaDataset
from tests.surrogates.roots import write_root

MEASURED = {name: float(place) for place, name in enumerate((*ROOT_FEATURES, "probe_loss_drop"))}


def features_of(
    measured: Mapping[str, float | None], features: Collection[str] | None
) -> Mapping[str, float]:
    tasks = pd.DataFrame({"task_id": ["a"], "name": ["A"], "meta_features": [json.dumps(measured)]})
    (task,) = root_tasks(tasks, pd.DataFrame({"task_id": ["a"], "task_name": ["A"]}), features)
    return task.features


def test_what_is_learned_from_is_what_is_named_however_much_was_measured() -> None:
    assert len(ROOT_FEATURES) == 12
    assert features_of(MEASURED, ROOT_FEATURES).keys() == set(ROOT_FEATURES)
    assert features_of(MEASURED, ["probe_loss_drop", "unheard_of"]) == {"probe_loss_drop": 12.0}
    assert features_of(MEASURED, None) == MEASURED
    assert features_of(MEASURED, []) == {}


def test_root_of_before_some_were_measured_is_learned_from_by_those_it_has() -> None:
    old = {name: MEASURED[name] for name in ROOT_FEATURES[:11]}
    assert features_of(old, ROOT_FEATURES) == old


def test_root_that_has_none_of_them_is_learned_from_by_all_it_has() -> None:
    found = features_of({"rows": 3.0, "colour": None}, ROOT_FEATURES)
    assert found["rows"] == 3.0
    assert math.isnan(found["colour"])
    assert features_of({}, ROOT_FEATURES) == {}


def test_task_without_a_description_has_a_name_and_no_features() -> None:
    tasks = pd.DataFrame({"task_id": [], "name": [], "meta_features": []})
    (task,) = root_tasks(tasks, pd.DataFrame({"task_id": ["a"], "task_name": ["A"]}), ROOT_FEATURES)
    assert (task.name, task.features) == ("A", {})


@pytest.mark.parametrize(("features", "names"), [(["rows"], {"rows"}), (None, {"rows", "loss", "unknown"})])
def test_meta_features_of_a_root_can_be_chosen(
    features: Collection[str] | None, names: set[str], tmp_path: Path
) -> None:
    write_root(tmp_path, tasks=2, configs=4)
    meta = MetaDataset.from_root(tmp_path, features=features)
    assert all(task.features.keys() == names for task in meta.tasks)
