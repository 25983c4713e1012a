"""Reading the losses of a new task as scores, in any unit; and expected improvement."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from surrogates.data.normalisation import TaskScale, quantile_scores
from surrogates.deepkernel.acquisition import log_expected_improvement
from surrogates.deepkernel.scale import BOUND, LossScale, SlopePrior

PRIOR = SlopePrior(0.0, 0.5)


@given(
    st.integers(0, 1000),
    st.floats(-1e4, 1e4),
    st.floats(1e-4, 1e4),
    st.integers(12, 40),
)
def test_an_affine_map_is_found_whatever_the_unit_and_the_sign(
    seed: int, location: float, unit: float, count: int
) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.uniform(-1.5, 1.5, size=count)
    told = scores + 0.1 * rng.normal(size=count)
    losses = location - unit * scores
    found = LossScale.fitted(losses, told, np.full(count, 0.01), PRIOR)
    assert np.corrcoef(found.scores(losses), scores)[0, 1] > 0.95
    assert np.abs(found.scores(losses) - scores).mean() < 0.3


@example([0.0, 7.045914753060767e-154], 0)
@example([0.0, 5e-324], 0)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=12), st.integers(0, 100))
def test_scores_never_rise_with_the_loss_and_stay_bounded(losses: list[float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    told = rng.normal(size=len(losses))
    found = LossScale.fitted(np.array(losses), told, np.full(len(losses), 0.5), PRIOR)
    scores = found.scores(np.sort(losses))
    assert np.isfinite(scores).all()
    assert (np.diff(scores) <= 1e-9).all()
    assert (np.abs(scores) <= BOUND).all()


def test_one_point_gets_its_foretold_score_and_the_past_tasks_slope() -> None:
    found = LossScale.fitted(
        np.array([7.0]), np.array([0.4]), np.array([0.2]), SlopePrior(math.log(3.0), 0.5)
    )
    assert found.scores(np.array([7.0]))[0] == pytest.approx(0.4)
    assert found.slope == pytest.approx(3.0, rel=0.02)


def test_predictions_that_say_nothing_do_not_flatten_what_was_seen() -> None:
    """The foretold scores have no relation to the losses; the losses still spread as scores do."""
    rng = np.random.default_rng(0)
    losses = 100.0 * rng.normal(size=40)
    found = LossScale.fitted(losses, np.zeros(40), np.ones(40), PRIOR)
    assert 0.7 < found.scores(losses).std() < 1.4


def test_one_loss_out_of_all_proportion_leaves_the_others_apart() -> None:
    losses = np.array([1.0, 1.1, 1.2, 1.3, 1e9])
    found = LossScale.fitted(losses, np.array([1.0, 0.5, 0.0, -0.5, -2.0]), np.full(5, 0.1), PRIOR)
    scores = found.scores(losses)
    assert scores[0] - scores[3] > 0.5
    assert scores[4] < scores[3]


def test_the_slope_prior_is_read_off_past_tasks() -> None:
    rng = np.random.default_rng(1)
    scales = []
    for unit in (1.0, 2.0, 4.0):
        losses = unit * rng.normal(size=200)
        scores = quantile_scores(losses)
        scales.append(TaskScale.fitted(scores, losses, {}, best=float(losses.min()), gap=unit))
    prior = SlopePrior.of(scales)
    assert prior.centre == pytest.approx(math.log(0.5), abs=0.4)
    flat = TaskScale.fitted(np.zeros(3), np.ones(3), {}, best=1.0, gap=1.0)
    assert SlopePrior.of([flat]).spread > 5.0


@given(st.floats(-5.5, 5), st.floats(0.05, 3))
def test_expected_improvement_agrees_with_a_sum_over_the_density(z: float, deviation: float) -> None:
    grid = np.linspace(-9, 12, 40_001)
    density = np.exp(-0.5 * grid**2) / math.sqrt(2 * math.pi)
    gains = np.maximum(deviation * (grid + z), 0.0) * density
    summed = float(gains.sum() * (grid[1] - grid[0]))
    told = log_expected_improvement(np.array([z * deviation]), np.array([deviation]), np.zeros(1))[0]
    assert told == pytest.approx(math.log(summed), abs=2e-3)


@given(st.floats(-2000, 10), st.floats(1e-6, 1))
@example(-6.0000005, 1e-6)
@example(-1.0000005, 1e-6)
@example(-1000.0000005, 1e-6)
def test_expected_improvement_rises_with_the_mean_where_plain_numbers_underflow(
    z: float, more: float
) -> None:
    low, high = log_expected_improvement(np.array([z, z + more]), np.ones(2), np.zeros(2))
    assert np.isfinite([low, high]).all()
    assert high >= low - 1e-6 * abs(low)
