import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from syne_tune import config_space as domains
from syne_tune.blackbox_repository.blackbox_offline import BlackboxOffline
from syne_tune.blackbox_repository.blackbox_offline import serialize as serialize_offline
from syne_tune.blackbox_repository.blackbox_tabular import BlackboxTabular, deserialize
from syne_tune.blackbox_repository.blackbox_tabular import serialize as serialize_tabular
from syne_tune.blackbox_repository.conversion_scripts.scripts.pd1_import import (
    serialize as serialize_one_table_a_task,
)

from orchestrator.contracts import InputError
from surrogates.data.store import read_tables, write_tables
from surrogates.interchange.records import CostKind, Reading
from surrogates.interchange.supplement import KEY
from surrogates.interchange.synetune import import_synetune
from surrogates.interchange.synetune_export import ELAPSED, export_synetune
from surrogates.metadataset import MetaDataset
from surrogates.recommender import Recommender
from tests.surrogates.metadatasets import assert_same, metadatasets, typed
from tests.surrogates.synthetic import World, make

pytestmark = [
    # Syne Tune 0.16 with pandas 3.1, inside its own blackboxes and loaders.
    pytest.mark.filterwarnings("ignore:The (inplace|'fastparquet')"),
    pytest.mark.filterwarnings("ignore:.*:FutureWarning:fastparquet"),
]

SPACE: dict[str, Any] = {
    "lr": domains.loguniform(1e-4, 1e-1),
    "layers": domains.randint(1, 4),
    "width": domains.logordinal([8, 16, 32]),
    "share": domains.finrange(0.0, 1.0, 5),
    "size": domains.ordinal(["small", "large"]),
    "nesterov": domains.choice([True, False]),
    "version": 3,
}
CONFIGS = pd.DataFrame(
    {
        "lr": [1e-3, 1e-2, 3e-2],
        "layers": [1, 2, 3],
        "width": [8, 32, 16],
        "share": [0.25, 0.5, 1.0],
        "size": ["small", "large", "small"],
        "nesterov": [True, False, True],
        "version": [3, 3, 3],
    }
)
SAID = Reading(metric="loss", direction="minimise")


def tabular(
    epochs: int = 4, seeds: int = 2, *, names: tuple[str, str] = ("loss", ELAPSED)
) -> BlackboxTabular:
    values = np.random.default_rng(0).uniform(1.0, 2.0, (3, seeds, epochs, 2))
    values[..., 1] = np.cumsum(values[..., 1], axis=-1)
    space = {"epochs": domains.randint(1, epochs)}
    return BlackboxTabular(CONFIGS, SPACE, space, values, objectives_names=list(names))


@settings(max_examples=15, deadline=None)
@given(metadatasets())
def test_export_reads_back_equal(meta: MetaDataset) -> None:
    with TemporaryDirectory() as folder:
        export_synetune(meta, Path(folder, "box"))
        assert_same(import_synetune(Path(folder, "box"), Reading()).meta, meta)


def test_meta_dataset_of_failures_without_a_point_reads_back_equal(tmp_path: Path) -> None:
    meta = make(World(tasks=2, configs=4, epochs=2))
    trials = meta.trials.assign(is_failure=True, outcome="out_of_memory")
    bare = replace(meta, trials=trials, points=meta.points.iloc[:0])
    export_synetune(bare, tmp_path / "box")
    assert_same(import_synetune(tmp_path / "box", Reading()).meta, bare)


def test_syne_tune_loads_an_export_and_answers_with_our_curves(tmp_path: Path) -> None:
    meta = make(World(tasks=3, configs=12, epochs=4, shared=False))
    export_synetune(meta, tmp_path / "box")
    boxes = deserialize(str(tmp_path / "box"))
    assert list(boxes) == [task.name for task in meta.tasks]
    first = boxes["task 0"]
    assert isinstance(first.configuration_space["lr"], domains.Float)
    assert domains.is_log_space(first.configuration_space["lr"])
    assert first.configuration_space["optim"].categories == ["adamw", "lion", "sgd"]
    rows = first.hyperparameters.to_dict(orient="records")
    for place, key in enumerate(sorted(meta.configs)):
        assert {name: rows[place][name] for name in meta.configs[key]} == dict(meta.configs[key])
        got = first.objective_function(rows[place], seed=0)
        trial = meta.trials[(meta.trials["task_id"] == "t0") & (meta.trials["config_id"] == key)]
        points = meta.points[meta.points["trial_id"].isin(trial["trial_id"])]
        assert np.isfinite(got[:, -1]).sum() == len(points)
        np.testing.assert_array_equal(got[: len(points), 0], points["value"])
        np.testing.assert_allclose(got[: len(points), -1], points["cost_s"].cumsum())


def test_export_loaded_by_syne_tune_and_read_without_our_description_keeps_configs_curves_and_costs() -> None:
    meta = make(World(tasks=3, configs=12, epochs=4))
    with TemporaryDirectory() as folder:
        export_synetune(meta, Path(folder, "box"))
        got = import_synetune(deserialize(str(Path(folder, "box"))), SAID).meta
    assert [task.task_id for task in got.tasks] == [task.name for task in meta.tasks]
    for name in ("value", "cost_s"):
        np.testing.assert_allclose(_curves(got, name), _curves(meta, name), rtol=1e-9)
    assert got.trials["is_failure"].sum() == meta.trials["is_failure"].sum() > 0
    ranges = {
        item.name: (item.low, item.high, item.is_log) for item in meta.space.parameters if not item.choices
    }
    assert ranges == {
        item.name: (item.low, item.high, item.is_log) for item in got.space.parameters if not item.choices
    }


def _curves(meta: MetaDataset, column: str) -> np.ndarray[Any, Any]:
    keyed = meta.points.merge(meta.trials[["trial_id", "task_id", "config_id"]], on="trial_id")
    keyed["lr"] = keyed["config_id"].map(lambda key: meta.configs[key]["lr"])
    keyed["task"] = keyed["task_id"].str[-1]
    return keyed.sort_values(["task", "lr", "epoch"])[column].to_numpy()


@pytest.mark.parametrize("layout", ["tabular", "a table a task", "offline", "objects"])
def test_every_layout_of_the_repository_is_read(tmp_path: Path, layout: str) -> None:
    boxes = {"a": tabular(), "b": tabular()}
    boxes["b"].objectives_evaluations = boxes["b"].objectives_evaluations + 1.0
    boxes["b"].objectives_evaluations[1] = np.nan
    source: Any = tmp_path / "box"
    if layout == "tabular":
        serialize_tabular(boxes, source)
    elif layout == "a table a task":
        serialize_one_table_a_task(boxes, source)
    elif layout == "offline":
        serialize_offline({name: _offline(box) for name, box in boxes.items()}, source)
    else:
        source = boxes
    imported = import_synetune(source, SAID)
    meta = imported.meta
    assert [task.task_id for task in meta.tasks] == ["a", "b"]
    assert meta.trials.groupby("task_id").size().to_dict() == {"a": 6, "b": 4}
    assert sorted(meta.trials["seed"].unique()) == [0, 1]
    assert meta.max_epochs == 4
    by_lr = {config["lr"]: config for config in typed(meta.configs).values()}
    assert by_lr[(float, 1e-2)] == {
        "lr": (float, 1e-2),
        "layers": (int, 2),
        "width": (int, 32),
        "share": (float, 0.5),
        "size": (str, "large"),
        "nesterov": (bool, False),
        "version": (int, 3),
    }
    key = next(key for key, config in meta.configs.items() if config["lr"] == 1e-3)
    trial = meta.trials[(meta.trials[["task_id", "config_id", "seed"]] == ["a", key, 1]).all(axis=1)]
    points = meta.points[meta.points["trial_id"].isin(trial["trial_id"])]
    wanted = boxes["a"].objectives_evaluations[0, 1]
    np.testing.assert_allclose(points["value"], wanted[:, 0], rtol=1e-6)
    np.testing.assert_allclose(points["cost_s"].cumsum(), wanted[:, 1], rtol=1e-6)
    ordered = {item.name for item in meta.space.parameters if item.is_ordered}
    assert ordered == {"width", "share", "size"}


def _offline(box: BlackboxTabular) -> BlackboxOffline:
    rows = []
    for config, row in enumerate(CONFIGS.to_dict(orient="records")):
        for seed in range(box.objectives_evaluations.shape[1]):
            for epoch, (loss, elapsed) in enumerate(box.objectives_evaluations[config, seed], start=1):
                rows.append({**row, "epochs": epoch, "seed": seed, "loss": loss, ELAPSED: elapsed})
    return BlackboxOffline(
        pd.DataFrame(rows), SPACE, {"epochs": domains.randint(1, 4)}, ["loss", ELAPSED], "seed"
    )


def test_import_written_and_read_again_serves_the_recommender(tmp_path: Path) -> None:
    serialize_tabular({"a": tabular(), "b": tabular()}, tmp_path / "box")
    features = pd.DataFrame({"task_id": ["a", "b"], "rows": [100, 900]})
    reading = Reading(metric="loss", direction="minimise", features=features)
    write_tables(import_synetune(tmp_path / "box", reading).meta, tmp_path / "t")
    plan = Recommender.fit(read_tables(tmp_path / "t")).plan({"rows": 300.0}, 20.0)
    assert plan.choices


def test_seconds_whose_meaning_is_not_said_are_refused_and_taken_as_told() -> None:
    boxes = {"a": tabular(names=("loss", "took"))}
    with pytest.raises(InputError, match=r"which objective is the seconds; add --cost"):
        import_synetune(boxes, SAID)
    with pytest.raises(InputError, match="what took counts; add --cost-kind"):
        import_synetune(boxes, Reading(metric="loss", direction="minimise", cost="took"))
    sums = {}
    for kind in (CostKind.CUMULATIVE, CostKind.EPOCH):
        told = Reading(metric="loss", direction="minimise", cost="took", cost_kind=kind)
        sums[kind] = import_synetune(boxes, told).meta.points["cost_s"].sum()
    took = boxes["a"].objectives_evaluations[..., 1]
    assert sums[CostKind.CUMULATIVE] == pytest.approx(took[:, :, -1].sum())
    assert sums[CostKind.EPOCH] == pytest.approx(took.sum())


def test_seconds_that_go_down_are_not_taken_for_cumulative() -> None:
    box = tabular()
    box.objectives_evaluations[1, 0, 2, 1] = 0.1
    with pytest.raises(InputError, match="can't be cumulative"):
        import_synetune({"a": box}, SAID)


def test_fidelities_that_do_not_count_from_one_are_numbered_and_said(tmp_path: Path) -> None:
    box = BlackboxTabular(
        CONFIGS,
        SPACE,
        {"steps": domains.randint(1, 27)},
        tabular().objectives_evaluations,
        fidelity_values=np.array([1, 3, 9, 27]),
        objectives_names=["loss", ELAPSED],
    )
    imported = import_synetune({"a": box}, SAID)
    assert imported.meta.max_epochs == 4
    assert any("1, 3, 9, 27" in note for note in imported.notes)


def test_what_a_blackbox_does_not_say_must_be_told() -> None:
    with pytest.raises(InputError, match="which way the metric improves"):
        import_synetune({"a": tabular()}, Reading(metric="loss"))
    with pytest.raises(InputError, match="which objective decides; add --metric, one of loss"):
        import_synetune({"a": tabular()}, Reading(direction="minimise"))
    with pytest.raises(InputError, match="no objective 'error'"):
        import_synetune({"a": tabular()}, Reading(metric="error", direction="minimise"))


def test_folder_that_is_no_blackbox_or_is_damaged_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no blackbox"):
        import_synetune(tmp_path, SAID)
    serialize_tabular({"a": tabular(), "b": tabular()}, tmp_path / "box")
    values = tmp_path / "box" / "objectives_evaluations.npy"
    np.save(values, np.load(values)[:, :2])
    with pytest.raises(InputError, match="values of shape"):
        import_synetune(tmp_path / "box", SAID)
    np.save(values, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="can't be read as an array"):
        import_synetune(tmp_path / "box", SAID)


def test_description_of_ours_that_is_damaged_is_refused(tmp_path: Path) -> None:
    export_synetune(make(World(tasks=2, configs=4, epochs=2)), tmp_path / "box")
    path = tmp_path / "box" / "metadata.json"
    content = json.loads(path.read_text())
    del content[KEY]["trials"]["seed"]
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="damaged"):
        import_synetune(tmp_path / "box", Reading())
