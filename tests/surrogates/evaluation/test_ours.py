from dataclasses import replace

import numpy as np
import pytest

from orchestrator.contracts import config_id
from surrogates.evaluation.ablations import Ablated, FewerTasks, FewerTrials, WithoutFeatures, ablations
from surrogates.evaluation.ours import FollowedPlan, TransferOnly, planned_steps
from surrogates.evaluation.replay import Replay, replay
from surrogates.metadataset import MetaDataset
from surrogates.recommender import Recommender
from surrogates.stepwise import Step
from tests.surrogates.synthetic import World, make


@pytest.fixture(scope="module")
def meta() -> MetaDataset:
    return make(World(tasks=5, configs=20, epochs=3))


def test_the_plan_is_followed_choice_by_choice(meta: MetaDataset) -> None:
    task = meta.tasks[0]
    recommender = Recommender.fit(meta.without([task.task_id]))
    problem = Replay(meta, task).problem(20.0)
    plan = recommender.plan(task.features, 20.0, candidates=problem.candidates)
    steps = planned_steps(recommender, problem)
    assert [config_id(problem.candidates[step.candidate]) for step in steps] == [
        config_id(choice.config) for choice in plan.choices
    ]
    assert [step.epochs for step in steps] == [choice.epochs for choice in plan.choices]


def test_a_budget_that_holds_no_epoch_runs_nothing(meta: MetaDataset) -> None:
    recommender = Recommender.fit(meta.without(["t0"]))
    assert planned_steps(recommender, Replay(meta, meta.tasks[0]).problem(1e-6)) == []


def test_what_failed_is_not_gone_on_with() -> None:
    plan = FollowedPlan(
        [Step(candidate=0, epochs=1), Step(candidate=0, epochs=2), Step(candidate=1, epochs=1)]
    )
    first = plan.ask()
    assert first == Step(candidate=0, epochs=1)
    plan.tell(first, [], failed=True)
    assert plan.ask() == Step(candidate=1, epochs=1)
    assert plan.ask() is None


def test_the_plan_does_not_depend_on_the_outcomes_on_the_task(meta: MetaDataset) -> None:
    """Absurd values on the task left out: the same steps are taken in the same order."""
    of_task = meta.points["trial_id"].isin(meta.trials.loc[meta.trials["task_id"] == "t0", "trial_id"])
    values = np.where(of_task, 1e6 - meta.points["value"] ** 2, meta.points["value"])
    absurd = replace(meta, points=meta.points.assign(value=values))
    taken = [
        rows.loc[rows["task_id"] == "t0", ["step", "candidate", "epoch", "train_s"]]
        for rows in (replay(TransferOnly(), each, budgets=(3.0,)) for each in (meta, absurd))
    ]
    assert taken[0].equals(taken[1])


def test_without_features_no_task_has_any(meta: MetaDataset) -> None:
    assert all(not task.features for task in WithoutFeatures()(meta, 0).tasks)
    assert all(task.features for task in meta.tasks)


@pytest.mark.parametrize("count", [1, 2, 4, 9])
def test_fewer_tasks_are_drawn_by_the_seed(meta: MetaDataset, count: int) -> None:
    drawn = {seed: {task.task_id for task in FewerTasks(count=count)(meta, seed).tasks} for seed in range(8)}
    assert {len(tasks) for tasks in drawn.values()} == {min(count, 5)}
    assert len(set(map(frozenset, drawn.values()))) > 1 or count == 9
    left = FewerTasks(count=count)(meta, 0)
    assert set(left.trials["task_id"]) == drawn[0]
    assert set(left.points["trial_id"]) <= set(left.trials["trial_id"])


@pytest.mark.parametrize("one_in", [2, 4, 8, 1000])
def test_fewer_trials_are_that_share_of_each_task_and_one_of_them_worked(
    meta: MetaDataset, one_in: int
) -> None:
    left = FewerTrials(one_in=one_in)(meta, 0)
    before, after = (each.trials["task_id"].value_counts() for each in (meta, left))
    assert (after.reindex(before.index) == np.maximum(before // one_in, 1)).all()
    assert not left.barren_tasks()
    assert set(left.configs) == set(left.trials["config_id"])


def test_an_ablation_changes_what_is_learned_from_and_not_the_record(meta: MetaDataset) -> None:
    half = Ablated(name="half", method=TransferOnly(), change=FewerTrials(one_in=2))
    rows = replay(half, meta, budgets=(1.0,))
    assert set(rows["method"]) == {"half"}
    assert rows["candidate"].dropna().isin(meta.trials["config_id"]).all()
    assert set(rows["task_id"]) == {task.task_id for task in meta.tasks}


def test_ablations_have_names_of_their_own_and_leave_fewer_tasks_than_there_are() -> None:
    names = [method.name for method in ablations(8)]
    assert len(set(names)) == len(names)
    assert [name for name in names if name.endswith(" tasks")] == ["2 tasks", "4 tasks", "6 tasks"]
    assert {"no meta-features", "no cost", "no failure model", "no uncertainty"} <= set(names)
