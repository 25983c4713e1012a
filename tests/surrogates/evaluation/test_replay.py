import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.contracts import InputError
from surrogates.evaluation.replay import Replay, judged_tasks, replay, replay_task
from surrogates.metadataset import MetaDataset
from surrogates.stepwise import Problem, Sequenced, Start, Step
from tests.surrogates.evaluation.methods import PLACE, Scripted, Shuffled, Told, small_table
from tests.surrogates.synthetic import World, make

WORLD = make(World(tasks=2, configs=12, epochs=3))


def _steps(chosen: Sequence[tuple[str, int]]) -> list[Step]:
    place = {**PLACE, "f": len(PLACE)}
    return [Step(candidate=place[name], epochs=epochs) for name, epochs in chosen]


def _run(chosen: Sequence[tuple[str, int]], budget_s: float) -> pd.DataFrame:
    meta = small_table()
    return Replay(meta, meta.tasks[0]).run(lambda problem: Sequenced(_steps(chosen)), budget_s)


@pytest.mark.parametrize(
    ("chosen", "budget_s", "losses"),
    [
        ([("a", 2)], 2.0, [4.0, 1.0]),
        ([("a", 2)], 1.5, [4.0]),
        ([("a", 2)], 0.5, []),
        ([("a", 1), ("b", 2)], 3.0, [4.0, 2.0, 2.0]),
        ([("c", 2), ("b", 2)], 3.0, [math.inf, math.inf, 2.0]),
        ([("d", 2), ("a", 2)], 2.0, [6.0, 6.0]),
        ([("f", 2), ("a", 2)], 4.0, [math.inf, 4.0]),
        ([("f", 2), ("a", 2)], 2.9, []),
    ],
)
def test_steps_run_on_the_recorded_clock_and_a_failure_is_never_the_incumbent(
    chosen: list[tuple[str, int]], budget_s: float, losses: list[float]
) -> None:
    assert _run(chosen, budget_s)["loss"].tolist() == [math.inf, *losses]


def test_going_on_with_a_config_costs_its_new_epochs_only() -> None:
    rows = _run([("a", 1), ("b", 1), ("a", 2)], 3.0)
    assert rows["train_s"].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert rows["candidate"].tolist()[1:] == ["a", "b", "a"]
    assert rows["epoch"].tolist()[1:] == [1, 1, 2]
    assert rows["loss"].tolist()[1:] == [4.0, 2.0, 1.0]


def test_the_reports_are_those_of_the_point_that_was_best_on_the_metric() -> None:
    rows = _run([("b", 2), ("a", 2)], 4.0)
    assert rows["loss"].tolist()[1:] == [2.0, 2.0, 2.0, 1.0]
    assert rows["test_loss"].tolist()[1:] == [12.0, 12.0, 12.0, 11.0]
    assert math.isnan(rows["test_loss"].iloc[0])


def test_a_method_is_told_new_points_failures_and_ends_of_the_record() -> None:
    meta = small_table()
    method = Told(_steps([("a", 1), ("a", 2), ("c", 1), ("c", 2), ("e", 2), ("f", 1)]))
    Replay(meta, meta.tasks[0]).run(lambda problem: method, 100.0)
    told = [([point.epoch for point in points], failed) for _, points, failed in method.told]
    assert told == [([1], False), ([2], False), ([1], False), ([2], True), ([1], True), ([1], True)]
    values = [point.value for _, points, _ in method.told for point in points]
    assert values[:3] == [4.0, 1.0, 5.0]
    assert math.isnan(values[3])
    assert math.isnan(values[5])
    assert method.told[-1][1][0].cost_s == 3.0


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ([("a", 2), ("a", 2)], "has 2 epochs"),
        ([("a", 3)], "2 are the most"),
        ([("c", 2), ("c", 2)], "can't be trained any further"),
    ],
)
def test_a_step_that_cannot_be_run_is_refused(chosen: list[tuple[str, int]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        _run(chosen, 100.0)


def test_a_candidate_that_is_not_there_is_refused() -> None:
    meta = small_table()
    with pytest.raises(InputError, match="there are 6 candidates"):
        Replay(meta, meta.tasks[0]).run(lambda problem: Sequenced([Step(candidate=6, epochs=1)]), 9.0)


def test_the_methods_own_seconds_are_kept_apart_and_start_ask_and_tell_count() -> None:
    """Each reading of the clock is one second after the last."""
    meta = small_table()
    clock = iter(itertools.count())
    rows = Replay(meta, meta.tasks[0]).run(
        lambda problem: Sequenced(_steps([("a", 1), ("b", 1)])), 2.0, clock=lambda: float(next(clock))
    )
    assert rows["own_s"].tolist() == [1.0, 2.0, 4.0]  # start; ask; tell and ask
    assert rows["train_s"].tolist() == [0.0, 1.0, 2.0]


def test_learning_is_outside_the_clock_sees_no_row_of_the_task_and_happens_once() -> None:
    meta = small_table()
    seen: list[tuple[str, ...]] = []

    class Watching:
        name, uses_budget = "watching", True

        def learn(self, others: MetaDataset, *, seed: int) -> Start:
            seen.append(tuple(others.trials["task_id"].unique()))
            return lambda problem: Sequenced([])

    replay_task(Watching(), meta, meta.tasks[0], budgets=(1.0, 3.0), seed=0)
    assert seen == [("u",)]


def test_learning_from_another_record_sees_all_of_it_but_the_task_that_is_replayed() -> None:
    meta, past = small_table(), WORLD
    both = replace(past, tasks=(replace(past.tasks[0], task_id="t"), *past.tasks[1:]))
    first = past.trials["task_id"] == past.tasks[0].task_id
    both = replace(both, trials=past.trials.assign(task_id=past.trials["task_id"].mask(first, "t")))
    seen: list[list[str]] = []

    class Watching:
        name, uses_budget = "watching", False

        def learn(self, others: MetaDataset, *, seed: int) -> Start:
            seen.append([task.task_id for task in others.tasks])
            return lambda problem: Sequenced(_steps([("a", 2)]))

    for task in meta.tasks:
        rows = replay_task(Watching(), meta, task, budgets=(1.0,), seed=0, past=both)
        assert rows["loss"].iloc[-1] == 1.0
    rest = [task.task_id for task in past.tasks[1:]]
    assert seen == [rest, ["t", *rest]]


def test_a_method_that_does_not_ask_the_budget_runs_once_at_the_largest() -> None:
    meta = small_table()
    asked: list[float] = []

    def steps(problem: Problem) -> list[Step]:
        asked.append(problem.budget_s)
        return []

    replay(Scripted(steps=steps), meta, budgets=(1.0, 10.0))
    assert asked == [20.0, 20.0]
    asked.clear()
    rows = replay(Scripted(steps=steps, uses_budget=True), meta, budgets=(10.0, 1.0))
    assert asked == [2.0, 20.0, 2.0, 20.0]
    assert sorted(rows["budget"].unique()) == [1.0, 10.0]


def test_the_unit_of_budgets_is_the_median_cost_of_runs_that_went_to_the_end() -> None:
    meta = small_table()
    assert Replay(meta, meta.tasks[0]).median_cost_s == 2.0  # neither e, which was stopped, nor c and f count


def test_a_failure_after_its_last_point_costs_what_its_points_do_not_account_for() -> None:
    curves = pd.DataFrame(
        [
            {"task_id": "t", "config_id": c, "trial_id": c, "epoch": e, "loss": 1.0, "s": 1.0}
            for c in ("a", "b")
            for e in (1, 2)
        ]
    )
    meta = MetaDataset.from_frames(
        curves,
        pd.DataFrame({"config_id": ["a", "b"], "x": [1, 2]}),
        pd.DataFrame({"task_id": ["t"]}),
        space={"x": [1, 2]},
        metric="loss",
        direction="minimise",
        cost="s",
    )
    fails = meta.trials["config_id"] == "a"
    meta = replace(
        meta,
        trials=meta.trials.assign(is_failure=fails, cost_s=np.where(fails, 2.5, 2.0)),
        points=meta.points[(meta.points["trial_id"] != "a") | (meta.points["epoch"] == 1)],
    )
    method = Told([Step(candidate=0, epochs=1), Step(candidate=0, epochs=2)])
    rows = Replay(meta, meta.tasks[0]).run(lambda problem: method, 10.0)
    assert rows["train_s"].tolist() == [0.0, 1.0, 2.5]
    assert [failed for _, _, failed in method.told] == [False, True]


def test_the_untrained_model_is_the_incumbent_until_something_is_better() -> None:
    meta = small_table()
    rows = Replay(meta, meta.tasks[0]).run(
        lambda problem: Sequenced(_steps([("d", 1), ("a", 2)])), 9.0, untrained_loss=5.0
    )
    assert rows["loss"].tolist() == [5.0, 5.0, 4.0, 1.0]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.2, 15.0))
def test_the_incumbent_never_gets_worse_and_the_clock_stays_within_the_budget(
    seed: int, budget: float
) -> None:
    meta = WORLD
    rows = replay(Shuffled(), meta, budgets=(budget,), seeds=(seed,))
    for task in meta.tasks:
        run = rows[rows["task_id"] == task.task_id]
        assert run["loss"].is_monotonic_decreasing
        assert run["train_s"].is_monotonic_increasing
        assert run["train_s"].max() <= budget * Replay(meta, task).median_cost_s * (1 + 1e-9)


def test_a_metric_that_is_maximised_replays_like_its_negative() -> None:
    plain, negated = (
        replay(Shuffled(), meta, seeds=(3,)) for meta in (small_table(), small_table(negated=True))
    )
    assert plain["loss"].tolist() == negated["loss"].tolist()
    assert np.array_equal(plain["test_loss"], -negated["test_loss"], equal_nan=True)


def test_tasks_on_which_nothing_worked_are_not_judged_and_two_must_be_left() -> None:
    meta = small_table()
    meta = replace(meta, trials=meta.trials.assign(is_failure=meta.trials["task_id"] == "u"))
    with pytest.raises(InputError, match="at least two tasks on which a trial worked, got 1"):
        judged_tasks(meta)
    assert [task.task_id for task in judged_tasks(small_table())] == ["t", "u"]
