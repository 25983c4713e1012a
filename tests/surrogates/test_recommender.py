import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from orchestrator.contracts import InputError, NothingLearnedError, Scalar
from surrogates.data.normalisation import Direction
from surrogates.metadataset import MetaDataset
from surrogates.plan import Plan
from surrogates.recommender import Recommender
from tests.surrogates.synthetic import SPACE, World, frames, make

WORLD = World(tasks=6, configs=30, epochs=4)
FEATURES = {"size": 110.0, "hint": 3.2, "noise": 0.1, "level": 1.0}


@pytest.fixture(scope="module")
def meta() -> MetaDataset:
    return make(WORLD)


@pytest.fixture(scope="module")
def learned(meta: MetaDataset) -> Recommender:
    return Recommender.fit(meta)


def test_two_fits_of_the_same_data_give_the_same_plan(meta: MetaDataset, learned: Recommender) -> None:
    assert Recommender.fit(make(WORLD)).plan(FEATURES, 30.0) == learned.plan(FEATURES, 30.0)


@pytest.mark.parametrize("budget_s", [3.0, 30.0, 3000.0])
def test_plan_keeps_within_the_budget_and_its_regret_never_rises(
    learned: Recommender, budget_s: float
) -> None:
    plan = learned.plan(FEATURES, budget_s)
    assert 0 < plan.cost_s <= budget_s
    assert [choice.rank for choice in plan.choices] == list(range(1, len(plan.choices) + 1))
    regrets = [choice.expected_regret for choice in plan.choices]
    assert regrets == sorted(regrets, reverse=True)
    for choice in plan.choices:
        assert choice.score.low <= choice.score.value <= choice.score.high
        assert 0 < choice.failure_probability < 1
        assert 1 <= choice.epochs <= WORLD.epochs
        assert choice.cost_s > 0


def test_every_cited_trial_exists_and_has_that_score(meta: MetaDataset, learned: Recommender) -> None:
    plan = learned.plan(FEATURES, 100.0)
    trials = meta.trials.set_index("trial_id")
    points = meta.points.set_index(["trial_id", "epoch"])
    cited = [(choice, trial) for choice in plan.choices for trial in choice.evidence]
    assert len(cited) >= len(plan.choices)
    for choice, trial in cited:
        row = trials.loc[trial.trial_id]
        assert (row["task_id"], row["outcome"]) == (trial.task_id, trial.outcome)
        same = meta.configs[str(row["config_id"])] == choice.config
        assert same == (trial.config_distance == 0.0)
        assert same or choice.is_fresh or not _was_run(meta, trial.task_id, choice.config)
        if row["is_failure"]:
            assert trial.value is None
            continue
        curve = meta.points[
            (meta.points["trial_id"] == trial.trial_id) & (meta.points["epoch"] <= choice.epochs)
        ]
        assert trial.epoch is not None
        assert trial.value == curve["value"].min() == points.loc[(trial.trial_id, trial.epoch), "value"]
        assert trial.reports == {"accuracy": points.loc[(trial.trial_id, trial.epoch), "accuracy"]}


def _was_run(meta: MetaDataset, task_id: str, config: object) -> bool:
    ids = meta.trials.loc[meta.trials["task_id"] == task_id, "config_id"]
    return any(meta.configs[key] == config for key in ids)


def test_plan_says_what_it_was_learned_from_and_which_tasks_count(
    meta: MetaDataset, learned: Recommender
) -> None:
    plan = learned.plan(FEATURES, 30.0)
    counted = plan.learned_from
    assert (counted.tasks, counted.trials, counted.points) == (6, len(meta.trials), len(meta.points))
    assert {task.task_id for task in plan.nearest_tasks} == {task.task_id for task in meta.tasks}
    weights = [task.weight for task in plan.nearest_tasks]
    assert weights == sorted(weights, reverse=True)
    assert sum(weights) == pytest.approx(1.0)


def test_plan_survives_json(learned: Recommender) -> None:
    plan = learned.plan(FEATURES, 30.0)
    assert Plan.from_dict(json.loads(json.dumps(plan.as_dict(), allow_nan=False))) == plan


def test_absurd_outcomes_on_the_target_change_nothing(meta: MetaDataset) -> None:
    target = meta.tasks[2]
    absurd = meta.points.copy()
    mine = absurd["trial_id"].isin(meta.trials.loc[meta.trials["task_id"] == target.task_id, "trial_id"])
    rng = np.random.default_rng(0)
    absurd.loc[mine, "value"] = rng.uniform(-1e9, 1e9, mine.sum())
    absurd.loc[mine, "cost_s"] = 1e6
    plans = [
        Recommender.fit(replace(meta, points=points)).plan(target.features, 30.0, task_id=target.task_id)
        for points in (meta.points, absurd)
    ]
    assert plans[0] == plans[1]
    assert plans[0] == Recommender.fit(meta, exclude_task_ids=[target.task_id]).plan(target.features, 30.0)
    assert target.task_id not in {task.task_id for task in plans[0].nearest_tasks}


def test_strangeness_is_higher_for_a_task_far_from_all(meta: MetaDataset, learned: Recommender) -> None:
    usual = [
        Recommender.fit(meta, exclude_task_ids=[task.task_id]).plan(task.features, 30.0).strangeness
        for task in meta.tasks[:3]
    ]
    far = learned.plan({"size": 1e7, "hint": 900.0, "noise": 50.0, "level": 1e5}, 3e6)
    assert far.strangeness is not None
    assert all(known is not None and known < far.strangeness for known in usual)
    assert any("unlike everything seen" in note for note in far.notes)
    assert not any(
        "unlike everything seen" in note for note in learned.plan(meta.tasks[0].features, 30.0).notes
    )


def test_named_candidates_are_the_only_ones_chosen_with_their_own_types(learned: Recommender) -> None:
    candidates = learned.meta.space.sample(5, seed=99)
    plan = learned.plan(FEATURES, 1e4, candidates=[*candidates, candidates[0]])
    assert all(choice.is_fresh for choice in plan.choices)
    chosen = [json.dumps(choice.config, sort_keys=True) for choice in plan.choices]
    assert sorted(chosen) == sorted(json.dumps(config, sort_keys=True) for config in candidates)


def test_best_learning_rate_follows_the_meta_feature_that_tells_it() -> None:
    learned = Recommender.fit(make(World(tasks=12, configs=60, epochs=4, seed=3)))
    rates = [
        np.log10(float(learned.plan({**FEATURES, "hint": hint}, 1e4, k=1).choices[0].config["lr"]))  # type: ignore[arg-type]
        for hint in (2.0, 4.0)
    ]
    assert rates[1] - rates[0] > 0.7


@pytest.fixture(scope="module")
def left_out() -> tuple[MetaDataset, dict[str, Recommender]]:
    """A world of ten tasks, and for each what is learned from the nine others."""
    meta = make(World(tasks=10, configs=30, epochs=4, seed=8))
    return meta, {task.task_id: Recommender.fit(meta, exclude_task_ids=[task.task_id]) for task in meta.tasks}


def test_predicted_cost_is_right_on_the_scale_of_seconds(
    left_out: tuple[MetaDataset, dict[str, Recommender]],
) -> None:
    meta, learned_without = left_out
    ratios = []
    for task in meta.tasks:
        learned = learned_without[task.task_id]
        rows = meta.trials[(meta.trials["task_id"] == task.task_id) & ~meta.trials["is_failure"]]
        row = rows.iloc[0]
        plan = learned.plan(task.features, 1e6, candidates=[meta.configs[row["config_id"]]])
        ratios.append(plan.choices[0].cost_s / plan.choices[0].epochs / (row["cost_s"] / WORLD.epochs))
    assert 0.8 < np.mean(ratios) < 1.25
    assert min(ratios) > 0.5
    assert max(ratios) < 2.0


def test_intervals_cover_most_of_the_tasks_left_out(
    left_out: tuple[MetaDataset, dict[str, Recommender]],
) -> None:
    meta, learned_without = left_out
    inside = []
    for task in meta.tasks:
        learned = learned_without[task.task_id]
        best = meta.points.merge(meta.trials, on="trial_id").query(
            "task_id == @task.task_id and not is_failure"
        )
        lowest = best.groupby("config_id")["value"].min()
        for name in lowest.index[:10]:
            (choice,) = learned.plan(task.features, 1e6, candidates=[meta.configs[name]], k=1).choices
            inside.append(choice.score.low <= lowest[name] <= choice.score.high)
    assert 0.6 <= np.mean(inside) <= 0.97


@pytest.mark.parametrize("budget_s", [0.0, -1.0, float("nan"), float("inf")])
def test_budget_that_is_no_budget_is_refused(learned: Recommender, budget_s: float) -> None:
    with pytest.raises(InputError, match="must be above 0 s"):
        learned.plan(FEATURES, budget_s)


def test_budget_below_one_epoch_is_refused_with_one_that_would_do(learned: Recommender) -> None:
    with pytest.raises(InputError, match="the smallest that would do is") as refused:
        learned.plan(FEATURES, 1e-3)
    told = float(str(refused.value).split("do is ")[1].removesuffix(" s"))
    assert learned.plan(FEATURES, told).choices


def test_wrong_questions_are_refused(meta: MetaDataset, learned: Recommender) -> None:
    with pytest.raises(InputError, match="k must be at least 1, got 0"):
        learned.plan(FEATURES, 30.0, k=0)
    with pytest.raises(InputError, match="candidates is empty"):
        learned.plan(FEATURES, 30.0, candidates=[])
    with pytest.raises(InputError, match="speed is not in the declared space"):
        learned.plan(FEATURES, 30.0, candidates=[{"speed": 1}])
    based = Recommender.fit(replace(meta.without(["t3", "t4", "t5"]), base_fingerprints=("one",)))
    assert based.plan(FEATURES, 30.0, base_fingerprint="one").learned_from.base_fingerprints == ("one",)
    with pytest.raises(InputError, match=r"\(other\) is not the one that was learned from \(one\)"):
        based.plan(FEATURES, 30.0, base_fingerprint="other")


def test_missing_meta_features_are_said_and_answered(learned: Recommender) -> None:
    assert any(
        "without the meta-features level, noise, size" in n for n in learned.plan({"hint": 3.0}, 30.0).notes
    )
    blind = learned.plan({"colour": 1.0}, 30.0)
    assert blind.strangeness is None
    assert any("no meta-feature of the task is known" in note for note in blind.notes)
    assert [task.weight for task in blind.nearest_tasks] == pytest.approx([1 / 6] * 6)


def test_one_task_is_answered_from_and_said_so() -> None:
    plan = Recommender.fit(make(World(tasks=1, configs=10, epochs=3))).plan(FEATURES, 1e3)
    assert any("one task only" in note for note in plan.notes)
    assert plan.choices[0].score.low < plan.choices[0].score.high


def test_nothing_left_to_learn_from_is_said(meta: MetaDataset) -> None:
    with pytest.raises(NothingLearnedError, match="no trial without failure is left"):
        Recommender.fit(meta, exclude_task_ids=[task.task_id for task in meta.tasks])


def test_task_where_all_failed_is_left_out_and_said() -> None:
    curves, configs, tasks = frames(World(tasks=3, configs=8, epochs=3))
    curves.loc[curves["task_id"] == "t1", "loss"] = np.nan
    meta = MetaDataset.from_frames(
        curves, configs, tasks, space=SPACE, metric="loss", direction="minimise", cost="seconds"
    )
    plan = Recommender.fit(meta).plan(FEATURES, 100.0)
    assert plan.learned_from.tasks == 2
    assert any("nothing was learned from task 1" in note for note in plan.notes)


def test_maximised_metric_predicts_in_its_own_direction() -> None:
    curves, configs, tasks = frames(WORLD)
    curves["score"] = np.where(np.isnan(curves["loss"]), np.nan, curves["accuracy"])
    meta = MetaDataset.from_frames(
        curves, configs, tasks, space=SPACE, metric="score", direction="maximise", cost="seconds"
    )
    choices = Recommender.fit(meta).plan(FEATURES, 1e4).choices
    learned_from = meta.points[meta.points["value"].notna()]
    assert meta.direction is Direction.MAXIMISE
    assert choices[0].score.value > learned_from["value"].quantile(0.8)
    assert all(0 <= choice.score.low <= choice.score.high <= 1 for choice in choices)


def test_config_that_always_fails_is_avoided_and_known_to_fail() -> None:
    learned = Recommender.fit(make(World(tasks=8, configs=60, epochs=3, strength=0.2)))
    hot: dict[str, Scalar] = {
        "lr": 0.09,
        "rank": 16,
        "optim": "lion",
        "rslora": True,
        "dropout": 0.0,
        "version": 3,
    }
    mild: dict[str, Scalar] = {**hot, "lr": 1e-4}
    plan = learned.plan(FEATURES, 1e4, candidates=[hot, mild])
    by_rate = {choice.config["lr"]: choice.failure_probability for choice in plan.choices}
    assert by_rate[0.09] > 0.5 > by_rate[1e-4]
    assert plan.choices[0].config["lr"] == 1e-4


def test_numbers_of_any_frame_type_do(meta: MetaDataset) -> None:
    curves, configs, tasks = (frame.convert_dtypes() for frame in frames(World(tasks=2, configs=6, epochs=2)))
    assert isinstance(curves["loss"].dtype, pd.Float64Dtype)
    curves["loss"] = curves["loss"].astype(float)
    built = MetaDataset.from_frames(
        curves, configs, tasks, space=SPACE, metric="loss", direction="minimise", cost="seconds"
    )
    assert Recommender.fit(built).plan(FEATURES, 1e3).choices
