import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from surrogates.evaluation.statistics import bootstrap_mean, compare, holm, signed_rank_p

_VALUES = arrays(float, st.integers(1, 12), elements=st.floats(-100, 100))


@settings(deadline=None, max_examples=30)
@given(_VALUES)
def test_an_interval_holds_the_mean_lies_within_the_values_and_repeats(values: np.ndarray) -> None:
    interval = bootstrap_mean(values)
    assert interval.low <= interval.mean + 1e-9
    assert interval.mean <= interval.high + 1e-9
    assert values.min() - 1e-9 <= interval.low
    assert interval.high <= values.max() + 1e-9
    assert interval.n == len(values)
    assert bootstrap_mean(values) == interval


def test_an_interval_is_as_wide_as_the_standard_error_says() -> None:
    values = np.random.default_rng(0).normal(size=400)
    interval = bootstrap_mean(values)
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.05)


def _enumerated(differences: np.ndarray) -> float:
    """The test by its definition: how often signs drawn at random give a sum at least as extreme."""
    ranks = np.array([(np.abs(differences) <= abs(d)).sum() for d in differences], dtype=float)
    sums = [float(np.dot(signs, ranks)) for signs in itertools.product((-1, 1), repeat=len(ranks))]
    seen = abs(float(np.dot(np.sign(differences), ranks)))
    return float(np.mean([abs(total) >= seen - 1e-9 for total in sums]))


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 1000), min_size=2, max_size=8, unique=True), st.data())
def test_p_is_that_of_going_through_all_signs(sizes: list[int], data: st.DataObject) -> None:
    signs = data.draw(st.lists(st.sampled_from([-1.0, 1.0]), min_size=len(sizes), max_size=len(sizes)))
    differences = np.array(sizes) * np.array(signs)
    assert signed_rank_p(differences) == pytest.approx(_enumerated(differences))


def test_eight_wins_of_eight_are_as_sure_as_eight_tasks_can_be() -> None:
    assert signed_rank_p(-np.ones(8)) == pytest.approx(2 / 2**8)
    assert signed_rank_p(np.r_[-np.ones(8), np.zeros(5)]) == pytest.approx(2 / 2**8)
    assert signed_rank_p(np.zeros(8)) == 1.0
    assert signed_rank_p(np.array([-1.0])) == 1.0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_corrected_ps_keep_their_order_and_never_fall(ps: list[float]) -> None:
    corrected = holm(ps)
    assert all(p <= after <= 1.0 for p, after in zip(ps, corrected, strict=True))
    assert corrected[int(np.argmin(ps))] == min(1.0, min(ps) * len(ps))
    for (a, after_a), (b, after_b) in itertools.combinations(zip(ps, corrected, strict=True), 2):
        assert a == b or (a < b) == (after_a < after_b) or after_a == after_b


def test_holm_corrects_a_worked_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_wins_ties_and_losses_are_counted_by_task() -> None:
    ours = np.array([0.0, 0.5, 0.2, 0.4])
    (against,) = compare(ours, [np.array([0.1, 0.5, 0.1, 0.6])])
    assert (against.wins, against.ties, against.losses, against.n) == (2, 1, 1, 4)
    assert against.difference == pytest.approx(-0.05)
    assert against.p == against.p_holm
