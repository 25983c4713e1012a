import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.contracts import InputError
from surrogates.data.space import Space
from surrogates.data.store import read_tables, write_tables
from surrogates.interchange.qtt import import_qtt
from surrogates.interchange.qtt_export import export_qtt, from_score, to_score
from surrogates.interchange.records import CostKind, Reading
from surrogates.metadataset import MetaDataset
from surrogates.recommender import Recommender
from tests.surrogates.metadatasets import assert_same, metadatasets, typed
from tests.surrogates.synthetic import World, make

NAMES = ("config.csv", "meta.csv", "cost.csv", "curve.csv")


def foreign(folder: Path, **changed: pd.DataFrame) -> Path:
    """Four runs on two tasks, as qtt's own documentation lays them out."""
    rows = pd.Index([1, 2, 3, 4])
    tables = {
        "config": pd.DataFrame(
            {
                "model": ["xcit", "beit", "xcit", "beit"],
                "lr": [0.001, 0.0005, 0.01, 0.02],
                "batch_size": [64, 128, 64, 32],
                "ema": [True, False, True, False],
                "decay": [0.9, np.nan, 0.99, np.nan],
            },
            index=rows,
        ),
        "meta": pd.DataFrame(
            {"num-features": [128, 128, 256, 256], "num-classes": [42, 42, 10, 10]}, index=rows
        ),
        "curve": pd.DataFrame(
            {"1": [0.1, 0.2, 0.3, np.nan], "2": [0.2, 0.3, 0.4, np.nan], "3": [0.3, np.nan, 0.5, np.nan]},
            index=rows,
        ),
        "cost": pd.DataFrame({"cost": [3.0, 4.0, 6.0, 1.0]}, index=rows),
    }
    folder.mkdir(exist_ok=True)
    for name, table in (tables | changed).items():
        table.to_csv(folder / f"{name}.csv")
    return folder


@settings(max_examples=15, deadline=None)
@given(metadatasets(low=0.0))
def test_export_reads_back_equal_but_for_reports_and_the_seconds_of_single_epochs(meta: MetaDataset) -> None:
    used = meta.without([])
    with TemporaryDirectory() as folder:
        export_qtt(used, Path(folder, "qtt"))
        got = import_qtt(Path(folder, "qtt"), Reading()).meta
    kept = replace(used, reports=(), points=used.points[["trial_id", "epoch", "value", "cost_s"]])
    assert_same(got, kept, tolerance=1e-9, costs=False)


@given(st.floats(0.0, 1e6))
def test_score_of_a_loss_lies_from_0_to_1_falls_with_it_and_turns_back(loss: float) -> None:
    score = to_score(np.array([loss, loss + 1.0]))
    assert 0.0 <= score[1] < score[0] <= 1.0
    assert from_score(score)[0] == pytest.approx(loss, rel=1e-9, abs=1e-9)


def test_documented_loader_of_qtt_reads_an_export_as_matrices_of_one_row_a_trial(tmp_path: Path) -> None:
    meta = make(World(tasks=3, configs=12, epochs=4))
    export_qtt(meta, tmp_path / "qtt")
    config, features, cost, curve = (pd.read_csv(tmp_path / "qtt" / name, index_col=0) for name in NAMES)
    x = pd.concat([config, features], axis=1)
    assert len(x) == len(meta.trials) == len(curve.values) == len(cost.values)
    assert cost.values.shape == (len(x), 1)
    assert x.columns.is_unique
    assert x["lr"].dtype == np.float64
    assert x["rank"].dtype == np.int64
    assert x["rslora"].dtype == np.bool_
    np.testing.assert_allclose(cost["cost"], meta.trials["cost_s"])
    first = meta.points[meta.points["trial_id"] == meta.trials["trial_id"][0]]
    np.testing.assert_allclose(curve.to_numpy()[0, : len(first)], 1.0 / (1.0 + first["value"]))
    assert ((curve > 0) & (curve < 1) | curve.isna()).all(axis=None)
    task = meta.tasks[[t.task_id for t in meta.tasks].index(meta.trials["task_id"][0])]
    assert x[sorted(task.features)].iloc[0].to_dict() == pytest.approx(dict(task.features))


def test_documented_layout_is_read_with_tasks_told_apart_by_their_meta_features(tmp_path: Path) -> None:
    imported = import_qtt(foreign(tmp_path / "qtt"), Reading())
    meta = imported.meta
    assert (meta.metric, meta.direction) == ("score", "maximise")
    assert [dict(task.features) for task in meta.tasks] == [
        {"num-features": 128.0, "num-classes": 42.0},
        {"num-features": 256.0, "num-classes": 10.0},
    ]
    assert sorted(meta.trials["is_failure"]) == [False, False, False, True]
    assert meta.points.groupby("trial_id")["cost_s"].sum().sort_values().tolist() == pytest.approx([3, 4, 6])
    configs = {config["lr"]: dict(config) for config in meta.configs.values()}
    assert typed({"a": configs[0.0005]}) == typed(
        {"a": {"model": "beit", "lr": 0.0005, "batch_size": 128, "ema": False}}
    )
    assert configs[0.001]["decay"] == 0.9
    assert all(("decay" in c) == (c["model"] == "xcit") for c in meta.space.sample(20, seed=0))
    assert any("guessed" in note for note in imported.notes)


def test_tasks_named_in_a_column_are_read_and_meta_features_have_a_row_a_task(tmp_path: Path) -> None:
    config = pd.DataFrame({"dataset": ["a", "a", "b", "b"], "lr": [0.1, 0.2, 0.1, 0.2]}, index=[1, 2, 3, 4])
    described = pd.DataFrame({"dataset": ["a", "b"], "size": [5, 6]})
    meta = import_qtt(foreign(tmp_path / "qtt", config=config, meta=described), Reading()).meta
    assert {task.task_id: dict(task.features) for task in meta.tasks} == {
        "a": {"size": 5.0},
        "b": {"size": 6.0},
    }
    assert meta.space.names == ("lr",)
    (tmp_path / "qtt" / "meta.csv").unlink()
    bare = import_qtt(tmp_path / "qtt", Reading())
    assert [task.task_id for task in bare.meta.tasks] == ["a", "b"]
    assert any("no meta-features" in note for note in bare.notes)


def test_cost_of_an_epoch_is_not_spread(tmp_path: Path) -> None:
    meta = import_qtt(foreign(tmp_path / "qtt"), Reading(cost_kind=CostKind.EPOCH)).meta
    assert meta.points.groupby("trial_id")["cost_s"].sum().sort_values().tolist() == pytest.approx([8, 9, 18])


def test_same_config_twice_on_a_task_is_two_seeds(tmp_path: Path) -> None:
    config = pd.DataFrame({"lr": [0.1, 0.1, 0.1, 0.2]}, index=[1, 2, 3, 4])
    meta = import_qtt(foreign(tmp_path / "qtt", config=config), Reading()).meta
    assert meta.trials.groupby("task_id")["seed"].apply(sorted).tolist() == [[0, 1], [0, 0]]


def test_declared_space_is_taken_instead_of_a_guess(tmp_path: Path) -> None:
    space = {"model": ["beit", "xcit", "vit"], "lr": {"min": 1e-5, "max": 1.0, "log": True}}
    rest = {"batch_size": [32, 64, 128], "ema": [True, False], "decay": {"min": 0.5, "max": 1.0}}
    told = Reading(space=Space(space | rest))
    meta = import_qtt(foreign(tmp_path / "qtt"), told).meta
    assert {item.name: item.high for item in meta.space.parameters if not item.choices} == {
        "lr": 1.0,
        "decay": 1.0,
    }
    with pytest.raises(InputError, match="ema, decay, which the declared space lacks"):
        import_qtt(tmp_path / "qtt", Reading(space=Space(space | {"batch_size": [32, 64, 128]})))


def test_import_written_and_read_again_serves_the_recommender(tmp_path: Path) -> None:
    write_tables(import_qtt(foreign(tmp_path / "qtt"), Reading()).meta, tmp_path / "t")
    assert Recommender.fit(read_tables(tmp_path / "t")).plan({"num-classes": 20.0}, 10.0).choices


def test_tables_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    rows = pd.Index([1, 2, 3, 5])
    cost = pd.DataFrame({"cost": [1.0] * 4}, index=rows)
    with pytest.raises(InputError, match=r"rows of cost\.csv are not those"):
        import_qtt(foreign(tmp_path / "a", cost=cost), Reading())
    with pytest.raises(InputError, match=r"config\.csv|pipeline\.csv"):
        import_qtt(tmp_path / "nowhere", Reading())
    with pytest.raises(InputError, match="say --cost-kind"):
        import_qtt(foreign(tmp_path / "b"), Reading(cost_kind=CostKind.CUMULATIVE))
    curve = pd.DataFrame({"epoch one": [0.1] * 4}, index=[1, 2, 3, 4])
    with pytest.raises(InputError, match="must be fidelities, got epoch one"):
        import_qtt(foreign(tmp_path / "c", curve=curve), Reading())


def test_negative_loss_is_not_exported(tmp_path: Path) -> None:
    meta = make(World(tasks=2, configs=4, epochs=2))
    meta.points.loc[0, "value"] = -1.0
    with pytest.raises(InputError, match="has the value -1"):
        export_qtt(meta, tmp_path / "qtt")


def test_description_that_is_not_of_these_tables_is_refused(tmp_path: Path) -> None:
    export_qtt(make(World(tasks=2, configs=4, epochs=2)), tmp_path / "qtt")
    path = tmp_path / "qtt" / "foretune.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"rows": content["rows"][1:]}))
    with pytest.raises(InputError, match="describes 7 trials, the tables 8"):
        import_qtt(tmp_path / "qtt", Reading())
