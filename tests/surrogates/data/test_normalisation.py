import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from surrogates.data.normalisation import (
    WORST_GOODNESS,
    Direction,
    TaskScale,
    goodness,
    median_gap,
    quantile_scores,
    to_loss,
)

finite = st.floats(-1e6, 1e6)
losses_with_failures = st.lists(finite | st.just(math.inf), min_size=1, max_size=40)


@given(losses_with_failures)
def test_lower_loss_scores_higher_and_equal_losses_score_alike(losses: list[float]) -> None:
    scores = quantile_scores(np.array(losses))
    for a in range(len(losses)):
        for b in range(len(losses)):
            assert (losses[a] < losses[b]) == (scores[a] > scores[b])


@given(losses_with_failures)
def test_failure_never_scores_better_than_a_finished_trial(losses: list[float]) -> None:
    scores = quantile_scores(np.array([*losses, math.inf]))
    finished = scores[np.isfinite(np.array([*losses, math.inf]))]
    assert not finished.size or scores[-1] < finished.min()


@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=40))
def test_scores_do_not_change_with_a_monotone_change_of_the_metric(losses: list[int]) -> None:
    plain = np.array(losses, dtype=float)
    assert np.array_equal(quantile_scores(plain), quantile_scores(np.exp(plain / 100.0)))


@given(st.lists(finite | st.just(math.nan), min_size=1, max_size=30))
def test_missing_losses_stay_missing_and_change_nothing(losses: list[float]) -> None:
    array = np.array(losses)
    scores = quantile_scores(array)
    assert np.array_equal(np.isnan(scores), np.isnan(array))
    assert np.array_equal(scores[~np.isnan(array)], quantile_scores(array[~np.isnan(array)]))


@given(st.lists(finite, min_size=1, max_size=20), st.sampled_from(list(Direction)))
def test_to_loss_undoes_itself(values: list[float], direction: Direction) -> None:
    array = np.array(values)
    assert np.array_equal(to_loss(to_loss(array, direction), direction), array)


@given(st.lists(finite, min_size=2, max_size=30), finite, st.floats(1e-3, 1e6))
def test_goodness_never_rises_with_the_loss(losses: list[float], best: float, gap: float) -> None:
    values = goodness(np.sort(np.array([*losses, math.inf])), best, gap)
    assert (np.diff(values) <= 0).all()
    assert values[-1] == WORST_GOODNESS
    assert values.max() <= 1.0


def test_goodness_is_one_at_the_best_and_zero_at_the_median() -> None:
    assert goodness(np.array([2.0, 5.0]), best=2.0, gap=3.0).tolist() == [1.0, 0.0]


@given(st.lists(finite | st.just(math.inf), min_size=1, max_size=30))
def test_gap_is_positive(losses: list[float]) -> None:
    assert median_gap(np.array(losses), min(losses)) > 0


@given(st.lists(finite, min_size=1, max_size=300))
def test_scale_reads_a_score_back_as_a_loss_that_was_seen_and_keeps_the_order(losses: list[float]) -> None:
    array = np.array(losses)
    scores = quantile_scores(array)
    scale = TaskScale.fitted(
        scores, array, {"twice": 2 * array}, best=array.min(), gap=median_gap(array, array.min())
    )
    read = scale.loss_at(np.sort(scores))
    tolerance = 1e-9 * (1 + np.abs(array).max())
    assert (np.diff(read) <= tolerance).all()
    assert array.min() - tolerance <= read.min()
    assert read.max() <= array.max() + tolerance
    assert abs(scale.loss_at(np.array([scores.max()]))[0] - array.min()) <= tolerance


def test_scale_reads_reports_beside_the_loss() -> None:
    losses = np.array([1.0, 2.0, 3.0])
    scores = quantile_scores(losses)
    scale = TaskScale.fitted(scores, losses, {"accuracy": np.array([0.9, 0.5, 0.1])}, best=1.0, gap=1.0)
    assert np.allclose(scale.report_at("accuracy", scores), [0.9, 0.5, 0.1])
