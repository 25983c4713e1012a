import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from surrogates.evaluation.regret import (
    MOST_REGRET,
    TaskRulers,
    measure,
    metric_on_test,
    normalised_regret,
    range_regret,
    regret_over_time,
    rulers,
)
from surrogates.evaluation.replay import Replay, replay
from surrogates.metadataset import MetaDataset
from tests.surrogates.evaluation.methods import PLACE, Scripted, Shuffled, small_table
from tests.surrogates.synthetic import World, make


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.floats(0, 1e3), st.floats(0, 1e3))
def test_regret_is_zero_at_the_best_one_at_the_median_and_never_falls_with_the_loss(
    best: float, gap: float, a: float, b: float
) -> None:
    assert normalised_regret(best, best, gap) == 0.0
    assert normalised_regret(np.inf, best, gap) == MOST_REGRET
    low, high = sorted((a, b))
    assert normalised_regret(best + low, best, gap) <= normalised_regret(best + high, best, gap)


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6), st.floats(0, 1e3), st.floats(0, 1e3))
def test_range_regret_is_zero_at_the_best_one_without_any_and_never_falls_with_the_loss(
    best: float, width: float, a: float, b: float
) -> None:
    worst = best + width
    assert range_regret(best, best, worst) == 0.0
    assert range_regret(np.inf, best, worst) == 1.0
    assert range_regret(worst, best, worst) == (1.0 if worst > best else 0.0)
    low, high = sorted((a, b))
    assert range_regret(best + low, best, worst) <= range_regret(best + high, best, worst)


@pytest.mark.parametrize("negated", [False, True])
def test_rulers_leave_failures_out(negated: bool) -> None:
    meta = small_table(negated=negated)
    by = rulers(meta, Replay(meta, meta.tasks[0]))
    assert (by.metric.best, by.metric.worst) == (1.0, 7.0)
    assert by.metric.gap == 3.0  # lowest losses 1, 2, 6, 7: median 4
    assert by.test is not None
    assert (by.test.best, by.test.worst) == (11.0, 17.0)


def _rulers(meta: MetaDataset) -> dict[str, TaskRulers]:
    return {task.task_id: rulers(meta, Replay(meta, task)) for task in meta.tasks}


def _scripted(name: str, *chosen: str) -> Scripted:
    from surrogates.stepwise import Step

    return Scripted(name=name, steps=lambda problem: [Step(candidate=PLACE[key], epochs=2) for key in chosen])


def test_a_budget_is_read_at_its_end_with_regret_test_metric_and_shared_ranks() -> None:
    meta = small_table(negated=True)
    methods = [_scripted("first", "b", "a"), _scripted("second", "a", "b"), _scripted("third", "b")]
    rows = pd.concat([replay(method, meta, budgets=(1.0, 2.0)) for method in methods])
    measured = measure(rows, meta, _rulers(meta), (1.0, 2.0), own_time=False)
    of_t = measured[measured["task_id"] == "t"].set_index(["method", "budget"])
    assert of_t.loc[("first", 1.0), "regret"] == pytest.approx(1 / 3)
    assert of_t.loc[("first", 2.0), "regret"] == 0.0
    assert of_t.loc[("first", 1.0), "range_regret"] == pytest.approx(1 / 6)
    assert of_t.loc[("first", 1.0), "test"] == -12.0
    assert of_t.loc[("first", 1.0), "test_regret"] == pytest.approx(1 / 3)
    assert of_t["configs"].tolist() == [1, 2, 1, 2, 1, 1]
    assert of_t["rank"].tolist() == [2.5, 1.5, 1.0, 1.5, 2.5, 3.0]


def test_where_nothing_was_run_regret_is_the_most_and_no_test_metric_is_told() -> None:
    meta = small_table()
    measured = measure(replay(_scripted("idle"), meta), meta, _rulers(meta), (1.0,), own_time=True)
    assert measured["regret"].tolist() == [MOST_REGRET] * 2
    assert measured["range_regret"].tolist() == [1.0] * 2
    assert measured["test"].isna().all()
    assert measured["test_regret"].isna().all()


def test_own_time_delays_what_was_found() -> None:
    meta = small_table()
    ticks = iter(np.arange(0.0, 100.0, 0.5))  # every reading half a second after the last
    rows = replay(_scripted("slow", "b", "a"), meta, budgets=(2.0,), clock=lambda: float(next(ticks)))
    for own_time, loss in ((False, 1.0), (True, 2.0)):
        measured = measure(rows, meta, _rulers(meta), (2.0,), own_time=own_time)
        assert measured["loss"].tolist() == [loss] * 2


def test_a_method_that_thinks_past_the_budget_has_found_nothing() -> None:
    meta = small_table()
    ticks = iter(np.arange(0.0, 1e4, 100.0))
    rows = replay(_scripted("lost", "a"), meta, budgets=(1.0,), clock=lambda: float(next(ticks)))
    assert measure(rows, meta, _rulers(meta), (1.0,), own_time=True)["regret"].tolist() == [MOST_REGRET] * 2
    assert measure(rows, meta, _rulers(meta), (1.0,), own_time=False)["regret"].tolist() == [0.0] * 2


def test_regret_over_time_never_rises_and_ends_where_the_budget_is_read() -> None:
    meta = make(World(tasks=3, configs=15, epochs=3))
    rows = replay(Shuffled(), meta, budgets=(4.0,), seeds=(0, 1))
    by = _rulers(meta)
    grid = np.linspace(0.0, 4.0, 30)
    line = regret_over_time(rows, by, 4.0, grid, own_time=False)
    assert line["regret"].iloc[0] == MOST_REGRET
    assert line["regret"].is_monotonic_decreasing
    measured = measure(rows, meta, by, (4.0,), own_time=False)
    assert line["regret"].iloc[-1] == pytest.approx(measured.groupby("task_id")["regret"].mean().mean())


def test_the_test_metric_is_the_deciding_ones_counterpart() -> None:
    assert metric_on_test(small_table()) == "test_loss"
    assert metric_on_test(make(World(tasks=2, configs=5, epochs=1))) is None
