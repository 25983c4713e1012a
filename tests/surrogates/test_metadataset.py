from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from orchestrator.contracts import InputError, NothingLearnedError, Outcome
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.reader import MetaDatasetReader
from surrogates.data.normalisation import Direction
from surrogates.data.score_table import build_table, fidelity_grid
from surrogates.metadataset import MetaDataset
from tests.surrogates.roots import SPACE_JSON, write_root
from tests.surrogates.synthetic import SPACE, World, frames, make

SMALL = World(tasks=3, configs=16, epochs=4)


def test_types_come_back_as_declared_though_frames_changed_them() -> None:
    meta = make(SMALL)
    kinds = {
        name: {type(config[name]) for config in meta.configs.values() if name in config} for name in SPACE
    }
    assert kinds == {
        "lr": {float},
        "rank": {int},
        "optim": {str},
        "momentum": {float},
        "rslora": {bool},
        "dropout": {float},
        "version": {int},
    }
    assert all(("momentum" in config) == (config["optim"] == "sgd") for config in meta.configs.values())


def test_failed_trial_scores_below_every_finished_one_and_keeps_its_cost() -> None:
    curves, _, _ = frames(SMALL)
    meta = make(SMALL)
    table = build_table(meta)
    compared = 0
    for t in range(len(table.task_ids)):
        bad, good = (
            table.scores[t, table.failure_shares[t] == 1.0],
            table.scores[t, table.failure_shares[t] == 0.0],
        )
        if bad.size:
            assert bad.max() < good.min()
            compared += 1
    assert compared > 0
    spent = curves.groupby(["task_id", "config_id"])["seconds"].sum()
    kept = meta.trials.set_index(["task_id", "config_id"])["cost_s"]
    assert kept.sort_index().to_numpy() == pytest.approx(spent.sort_index().to_numpy())


def test_score_of_a_fidelity_is_that_of_the_best_point_so_far_and_a_stopped_curve_keeps_its_last() -> None:
    values = {"a": [3.0, 1.0, 2.0], "b": [4.0, 3.5], "c": [5.0, 6.0, 7.0]}
    rows = [
        {"task_id": "t", "config_id": name, "epoch": epoch + 1, "loss": loss, "s": 1.0}
        for name, curve in values.items()
        for epoch, loss in enumerate(curve)
    ]
    meta = MetaDataset.from_frames(
        pd.DataFrame(rows),
        pd.DataFrame({"config_id": ["a", "b", "c"], "x": [1, 2, 3]}),
        pd.DataFrame({"task_id": ["t"]}),
        space={"x": [1, 2, 3]},
        metric="loss",
        direction="minimise",
        cost="s",
    )
    table = build_table(meta)
    a, b, c = table.scores[0]
    assert a[1] == a[2] > a[0] > b[0]
    assert b[2] == b[1] > b[0] > c[0]
    assert c[0] == c[1] == c[2]
    assert table.reached[0].tolist() == [[True] * 3, [True, True, False], [True] * 3]
    assert table.scales[0].loss_at(np.array([a[2]])) == pytest.approx(1.0)


def test_direction_turns_the_order_around() -> None:
    curves, configs, tasks = frames(SMALL)
    curves["negated"] = -curves["loss"]
    turned = MetaDataset.from_frames(
        curves, configs, tasks, space=SPACE, metric="negated", direction="maximise", cost="seconds"
    )
    assert np.array_equal(build_table(turned).scores, build_table(make(SMALL)).scores, equal_nan=True)


def test_fidelities_rise_from_one_to_the_largest() -> None:
    for largest in range(1, 200):
        grid = fidelity_grid(largest).tolist()
        assert grid == sorted(set(grid))
        assert (grid[0], grid[-1]) == (1, largest)
        assert len(grid) <= 8


def test_without_removes_every_trace_of_a_task() -> None:
    meta = make(World(tasks=3, configs=5, epochs=2, shared=False))
    left = meta.without(["t1"])
    assert {task.task_id for task in left.tasks} == {"t0", "t2"}
    assert not any(name.startswith("c1-") for name in left.configs)
    assert set(left.points["trial_id"]) <= set(left.trials["trial_id"])


def _broken(change: str) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    curves, configs, tasks = frames(World(tasks=2, configs=3, epochs=2))
    match change:
        case "no metric":
            curves = curves.drop(columns="loss")
        case "doubled":
            curves = pd.concat([curves, curves.tail(1)])
        case "epoch 0":
            curves["epoch"] -= 1
        case "negative cost":
            curves["seconds"] *= -1
        case "unknown task":
            tasks = tasks[tasks["task_id"] != "t1"]
        case "unknown config":
            configs = configs.iloc[1:]
        case "undeclared name":
            configs = configs.assign(speed=1)
    return curves, configs, tasks


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("no metric", "curves lacks the column loss"),
        ("doubled", "twice"),
        ("epoch 0", "counts from 1, got 0"),
        ("negative cost", "seconds must be seconds, at least 0"),
        ("unknown task", "'t1' has results but no row in tasks"),
        ("unknown config", "has results but no row in configs"),
        ("undeclared name", "speed is not in the declared space"),
    ],
)
def test_wrong_frames_are_refused_with_what_is_wrong(change: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        MetaDataset.from_frames(
            *_broken(change), space=SPACE, metric="loss", direction="minimise", cost="seconds"
        )


def test_wrong_direction_is_refused() -> None:
    curves, configs, tasks = frames(World(tasks=2, configs=3, epochs=2))
    with pytest.raises(InputError, match="direction must be minimise or maximise, got 'down'"):
        MetaDataset.from_frames(
            curves, configs, tasks, space=SPACE, metric="loss", direction="down", cost="seconds"
        )


def test_root_reads_as_what_was_written(tmp_path: Path) -> None:
    write_root(tmp_path, tasks=2, configs=4)
    meta = MetaDataset.from_root(tmp_path)
    trials = MetaDatasetReader(tmp_path).trials()
    assert len(meta.trials) == (trials["outcome"] != Outcome.FAILED.value).sum()
    assert set(meta.trials.loc[meta.trials["is_failure"], "outcome"]) == {Outcome.DIVERGED.value}
    assert meta.direction is Direction.MINIMISE
    assert meta.base_fingerprints == ("base-1",)
    assert meta.reports == ("eval_exact_match",)
    row = meta.trials.iloc[0]
    curve = MetaDatasetReader(tmp_path).curves().set_index("trial_id").loc[row["trial_id"]]
    assert row["cost_s"] == pytest.approx((curve["train_s"] + curve["eval_s"]).sum())
    assert MetaDataset.from_root(tmp_path, metric="eval_token_f1").direction is Direction.MAXIMISE


def test_root_without_space_trials_or_metric_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is no sweep's root: space\.json is missing"):
        MetaDataset.from_root(tmp_path)
    RootLayout(tmp_path).space_json.write_text(SPACE_JSON)
    with pytest.raises(NothingLearnedError, match="has finished yet"):
        MetaDataset.from_root(tmp_path)
    write_root(tmp_path, tasks=1, configs=2)
    with pytest.raises(InputError, match="no column 'bleu'"):
        MetaDataset.from_root(tmp_path, metric="bleu")
