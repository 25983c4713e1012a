from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.contracts import InputError
from surrogates.data.normalisation import WORST_GOODNESS
from surrogates.planning.portfolio import (
    Samples,
    build_portfolio,
    expected_goodness,
    rounded_up,
    smallest_budget_s,
)
from tests.surrogates.planning.plain_portfolio import plain_portfolio


@st.composite
def samples(draw: st.DrawFn) -> Samples:
    """What may happen, drawn from a seed: shapes matter here, not particular numbers."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    count, candidates, fidelities = (draw(st.integers(1, high)) for high in (6, 8, 4))
    goodness = np.sort(rng.uniform(WORST_GOODNESS, 1.0, (count, candidates, fidelities)), axis=2)
    cost_s = np.cumsum(rng.lognormal(0.0, 1.5, (candidates, 1)) * np.ones(fidelities), axis=1)
    weights = rng.dirichlet(np.ones(count))
    return Samples(goodness=goodness, weights=weights, cost_s=cost_s, factors=rng.lognormal(0.0, 0.5, count))


@settings(deadline=None)
@given(samples(), st.floats(1.0, 50.0), st.integers(1, 10))
def test_plan_keeps_within_the_budget_and_a_candidate_named_again_is_continued(
    what: Samples, times: float, most: int
) -> None:
    budget_s = smallest_budget_s(what.cost_s) * times
    picks = build_portfolio(what, budget_s, most=most)
    assert 1 <= len(picks) <= most
    planned = [pick for pick in picks if not pick.is_reserve]
    assert sum(pick.cost_s for pick in planned) <= budget_s * (1 + 1e-12)
    assert picks[: len(planned)] == planned
    reached: dict[int, int] = {}
    paid = dict.fromkeys(range(len(what.cost_s)), 0.0)
    for pick in picks:
        assert pick.fidelity > reached.get(pick.candidate, -1)
        paid[pick.candidate] += pick.cost_s
        assert paid[pick.candidate] == pytest.approx(what.cost_s[pick.candidate, pick.fidelity])
        reached[pick.candidate] = pick.fidelity


@settings(deadline=None)
@given(samples(), st.floats(0.3, 50.0), st.integers(1, 40), st.booleans())
def test_portfolio_is_the_one_that_the_plain_way_finds(
    what: Samples, times: float, most: int, is_pool: bool
) -> None:
    if is_pool:  # more candidates than are looked at closely, and several that are good alike
        rng = np.random.default_rng(most)
        goodness = np.sort(rng.uniform(-2.0, 1.0, (len(what.weights), 120, 5)).round(1), axis=2)
        cost_s = np.outer(rng.lognormal(0.0, 1.0, 120), np.arange(1, 6))
        what = replace(what, goodness=goodness, cost_s=cost_s)
    budget_s = smallest_budget_s(what.cost_s) * times
    try:
        plain = plain_portfolio(what, budget_s, most=most)
    except InputError:
        with pytest.raises(InputError):
            build_portfolio(what, budget_s, most=most)
        return
    told = build_portfolio(what, budget_s, most=most)
    assert [replace(pick, cost_s=0.0) for pick in told] == [replace(pick, cost_s=0.0) for pick in plain]
    np.testing.assert_allclose([p.cost_s for p in told], [p.cost_s for p in plain])


@given(samples(), st.floats(1.0, 50.0))
def test_expected_regret_never_rises_as_the_portfolio_grows(what: Samples, times: float) -> None:
    picks = build_portfolio(what, smallest_budget_s(what.cost_s) * times, most=10)
    assert (np.diff(1.0 - expected_goodness(what, picks)) <= 0).all()


@given(samples())
def test_with_any_budget_the_first_pick_alone_is_the_best_single_one(what: Samples) -> None:
    picks = build_portfolio(what, 1e9, most=1)
    singles = np.tensordot(what.weights, what.goodness, axes=1)
    assert singles[picks[0].candidate, picks[0].fidelity] >= singles.max() - 1e-6


def test_reserve_is_what_else_would_fit_if_all_went_as_fast_as_in_the_fastest_sample() -> None:
    what = Samples(
        goodness=np.array([[[0.9], [0.8], [0.7], [0.6]]] * 2),
        weights=np.array([0.5, 0.5]),
        cost_s=np.full((4, 1), 5.0),
        factors=np.array([1.0, 1 / 3]),
    )
    picks = build_portfolio(what, 6.0, most=10)
    assert [(pick.candidate, pick.is_reserve) for pick in picks] == [(0, False), (1, True), (2, True)]
    steady = replace(what, factors=np.ones(2))
    assert not any(pick.is_reserve for pick in build_portfolio(steady, 6.0, most=10))


def test_second_pick_complements_the_first() -> None:
    # A is good in both samples, B a little less, C best in the sample where A is worst.
    goodness = np.array([[[0.9], [0.89], [-1.0]], [[0.5], [0.49], [1.0]]])
    what = Samples(
        goodness=goodness, weights=np.array([0.5, 0.5]), cost_s=np.ones((3, 1)), factors=np.ones(2)
    )
    assert [pick.candidate for pick in build_portfolio(what, 2.0, most=2)] == [0, 2]


def test_what_probably_does_not_fit_the_budget_is_not_relied_on() -> None:
    # The dear one would be better, but in most samples everything costs twice what is predicted.
    what = Samples(
        goodness=np.array([[[0.8], [0.9]]] * 3),
        weights=np.full(3, 1 / 3),
        cost_s=np.array([[4.0], [9.0]]),
        factors=np.array([1.0, 2.0, 2.0]),
    )
    assert build_portfolio(what, 10.0, most=1)[0].candidate == 0


@given(samples(), st.floats(0.001, 0.2))
def test_budget_far_below_one_epoch_is_refused_and_the_named_one_would_do(
    what: Samples, share: float
) -> None:
    least = smallest_budget_s(what.cost_s)
    with pytest.raises(InputError) as refused:
        build_portfolio(what, least * share, most=3)
    assert build_portfolio(what, float(rounded_up(least)), most=3)
    assert f"{rounded_up(least)} s" in str(refused.value)


@given(samples(), st.floats(0.7, 0.999))
def test_budget_little_below_one_epoch_gets_a_plan_that_is_all_reserve(what: Samples, share: float) -> None:
    picks = build_portfolio(what, smallest_budget_s(what.cost_s) * share, most=3)
    assert picks
    assert all(pick.is_reserve for pick in picks)


@given(st.floats(1e-9, 1e12))
def test_rounding_up_never_falls_below_and_stays_within_one_percent(seconds: float) -> None:
    assert seconds * (1 - 1e-12) <= float(rounded_up(seconds)) <= seconds * 1.011
