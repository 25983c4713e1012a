from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from surrogates.baselines.fixed import DefaultConfig, RandomSearch
from surrogates.baselines.past import MOST_REGRET, CandidateResults, PastResults
from surrogates.baselines.portfolios import (
    AverageRank,
    GreedyPortfolio,
    NearestTask,
    OneEpochTopK,
    complementary,
)
from surrogates.data.normalisation import Array, Direction
from surrogates.metadataset import MetaDataset
from surrogates.stepwise import Method, Problem
from tests.surrogates.baselines.driver import Recording, recording, run, steps_of


def _past(
    losses: dict[str, Sequence[float | None]],
    *,
    seconds: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
    hints: dict[str, float] | None = None,
    direction: Direction = Direction.MINIMISE,
) -> MetaDataset:
    """Task to losses of configs x = 0, 10, 20, …; NaN failed, None was not run."""
    sign = 1.0 if direction is Direction.MINIMISE else -1.0
    rows = [
        {"task_id": task, "config_id": f"c{c}", "epoch": epoch, "m": sign * loss, "s": seconds[c]}
        for task, found in losses.items()
        for c, loss in enumerate(found)
        if loss is not None
        for epoch in (1, 2)
    ]
    count = max(map(len, losses.values()))
    tasks = pd.DataFrame({"task_id": list(losses)})
    if hints is not None:
        tasks["hint"] = [hints[task] for task in losses]
    return MetaDataset.from_frames(
        pd.DataFrame(rows),
        pd.DataFrame({"config_id": [f"c{c}" for c in range(count)], "x": [10.0 * c for c in range(count)]}),
        tasks,
        space={"x": {"min": 0.0, "max": 100.0, "default": 40.0}},
        metric="m",
        direction=direction,
        cost="s",
    )


def _order(method: Method, past: MetaDataset, xs: Sequence[float], hint: float = float("nan")) -> list[float]:
    problem = Problem(
        features={"hint": hint},
        candidates=tuple({"x": x} for x in xs),
        budget_s=10.0,
        max_epochs=2,
        direction=past.direction,
    )
    recorded = Recording(problem=problem, values=np.ones((len(xs), 2)), cost_s=np.ones(len(xs)))
    return [xs[step.candidate] for step in steps_of(method, past, recorded)]


@pytest.mark.parametrize("direction", Direction)
def test_average_rank_goes_by_ranks_not_by_losses_and_puts_failures_last(direction: Direction) -> None:
    past = _past(
        {"a": [1.0, 2.0, 3.0, np.nan], "b": [2.0, 1.0, 3.0, np.nan], "c": [900.0, 1.0, 2.0, 3.0]},
        direction=direction,
    )
    assert _order(AverageRank(), past, [30.0, 20.0, 10.0, 0.0]) == [10.0, 0.0, 20.0, 30.0]


def test_average_rank_puts_candidates_nobody_ran_after_the_others_as_their_nearest_rank() -> None:
    past = _past({"a": [1.0, 2.0, 3.0], "b": [1.0, 2.0, 3.0]})
    assert _order(AverageRank(), past, [21.0, 12.0, 20.0, 1.0]) == [20.0, 1.0, 12.0, 21.0]


def test_average_rank_of_a_config_is_over_the_tasks_that_ran_it() -> None:
    past = _past({"a": [3.0, 1.0, 2.0], "b": [2.0, None, 1.0]})
    assert _order(AverageRank(), past, [0.0, 10.0, 20.0]) == [10.0, 20.0, 0.0]


def test_nearest_task_goes_by_the_nearest_then_by_the_next_that_ran_what_it_did_not() -> None:
    past = _past(
        {"near": [3.0, 1.0, None, None], "far": [1.0, 2.0, 9.0, 8.0], "farthest": [1.0, 2.0, 3.0, 4.0]},
        hints={"near": 1.0, "far": 4.0, "farthest": 30.0},
    )
    assert _order(NearestTask(), past, [0.0, 10.0, 20.0, 30.0], hint=1.0) == [10.0, 0.0, 30.0, 20.0]
    assert _order(NearestTask(), past, [0.0, 10.0, 20.0, 30.0], hint=40.0) == [0.0, 10.0, 20.0, 30.0]
    unseen = _order(NearestTask(), past, [2.0, 0.0, 12.0], hint=1.0)
    assert unseen == [0.0, 12.0, 2.0]


def test_nearest_task_without_meta_features_is_the_average_rank() -> None:
    losses: dict[str, Sequence[float | None]] = {
        "a": [3.0, 1.0, 2.0],
        "b": [9.0, 2.0, 1.0],
        "c": [3.0, 1.0, 2.0],
    }
    told = _past(losses, hints={"a": 1.0, "b": 2.0, "c": 3.0})
    xs = [0.0, 10.0, 20.0]
    assert _order(NearestTask(), _past(losses), xs) == _order(AverageRank(), told, xs) == [10.0, 20.0, 0.0]
    assert _order(NearestTask(), told, xs) == [10.0, 20.0, 0.0]
    assert _order(NearestTask(), told, xs, hint=2.0) == [20.0, 10.0, 0.0]


def test_the_portfolio_complements_where_the_average_rank_repeats_itself() -> None:
    past = _past(
        {
            "a": [1.0, 1.1, 5.0, 4.0],
            "b": [1.0, 1.1, 5.0, 4.0],
            "c": [1.0, 1.1, 5.0, 4.0],
            "d": [9.0, 8.0, 1.0, 7.0],
        }
    )
    xs = [0.0, 10.0, 20.0, 30.0]
    assert _order(AverageRank(), past, xs)[:2] == [0.0, 10.0]
    assert _order(GreedyPortfolio(), past, xs)[:2] == [0.0, 20.0]


def test_the_cost_aware_portfolio_prefers_the_cheap_of_two_alike() -> None:
    past = _past({"a": [1.0, 1.01, 4.0, 5.0], "b": [1.0, 1.01, 4.0, 5.0]}, seconds=(8.0, 1.0, 4.0, 4.0))
    xs = [0.0, 10.0, 20.0, 30.0]
    assert _order(GreedyPortfolio(), past, xs)[0] == 0.0
    assert _order(GreedyPortfolio(per_second=True), past, xs)[0] == 10.0


def test_past_results_are_those_of_a_plain_loop() -> None:
    past = _past({"a": [3.0, 1.0, np.nan, 2.0], "b": [7.0, None, 5.0, 6.0]}, seconds=(1.0, 2.0, 3.0, 6.0))
    results = PastResults.of(past)
    nan = float("nan")
    assert results.ranks == pytest.approx(
        np.array([[0.75, 0.25, 1.0, 0.5], [1.0, nan, 1 / 3, 2 / 3]]), nan_ok=True
    )
    assert results.regrets == pytest.approx(
        np.array([[2.0, 0.0, MOST_REGRET, 1.0], [2.0, nan, 0.0, 1.0]]), nan_ok=True
    )
    # Full runs take 2, 4, 6, 12 s; the median is 5 s on a, where what failed took its two epochs, 6 s on b.
    assert results.costs == pytest.approx(
        np.array([[0.4, 0.8, 1.2, 2.4], [1 / 3, nan, 1.0, 2.0]]), nan_ok=True
    )


def _results(regrets: Array) -> CandidateResults:
    return CandidateResults(
        was_run=np.ones(regrets.shape, dtype=bool),
        ranks=regrets,
        regrets=regrets,
        costs=np.ones(regrets.shape),
    )


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 10**6))
def test_each_member_of_the_portfolio_lowers_the_mean_regret_as_far_as_any_could(
    tasks: int, count: int, seed: int
) -> None:
    regrets = np.random.default_rng(seed).uniform(0.0, 5.0, (tasks, count))
    order = [int(place) for place in complementary(_results(regrets), per_second=False)]
    assert sorted(order) == list(range(count))
    for size in range(1, count + 1):
        reached = regrets[:, order[:size]].min(axis=1).mean()
        could = min(
            regrets[:, [*order[: size - 1], other]].min(axis=1).mean()
            for other in range(count)
            if other not in order[: size - 1]
        )
        assert reached == pytest.approx(could)


def test_one_epoch_top_k_tries_for_a_third_of_the_budget_then_runs_the_best_first() -> None:
    configs = tuple({"x": float(x)} for x in range(30))
    recorded = recording(configs=configs, max_epochs=4, failures=0.0, budget_s=30.0)
    steps = run(OneEpochTopK().learn(_past({"a": [1.0]}), seed=0), recorded)
    firsts = [step for step in steps if step.epochs == 1]
    assert steps[: len(firsts)] == firsts
    spent = np.cumsum([recorded.cost_s[step.candidate] for step in firsts])
    assert spent[-2] < 10.0 <= spent[-1]
    tried = [step.candidate for step in firsts]
    after = [step.candidate for step in steps[len(firsts) : 2 * len(firsts)]]
    assert after == sorted(tried, key=lambda place: float(recorded.values[place, 0]))
    assert {step.candidate for step in steps} == set(range(30))


def test_the_default_config_is_the_candidate_nearest_to_the_spaces_default() -> None:
    assert _order(DefaultConfig(), _past({"a": [1.0]}), [0.0, 90.0, 44.0, 31.0]) == [44.0]


def test_random_search_draws_another_order_with_another_seed() -> None:
    past, xs = _past({"a": [1.0]}), [float(x) for x in range(12)]
    recorded = recording(configs=tuple({"x": x} for x in xs), failures=0.0)
    orders = [[s.candidate for s in steps_of(RandomSearch(), past, recorded, seed=seed)] for seed in range(2)]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(12))


def test_a_task_without_a_success_and_a_trial_without_a_point_say_nothing() -> None:
    told: dict[str, Sequence[float | None]] = {"a": [3.0, 1.0, 2.0], "b": [3.0, 2.0, 1.0]}
    results = PastResults.of(_past({**told, "barren": [np.nan, np.nan, None]}))
    assert results.ranks == pytest.approx(PastResults.of(_past(told)).ranks)
    assert len(results.features) == 2
