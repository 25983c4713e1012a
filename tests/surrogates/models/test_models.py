"""The learned parts one by one: weights, likeness, cost, failure, trust."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.contracts import InputError
from surrogates.data.encoding import ConfigEncoder
from surrogates.data.space import Space
from surrogates.data.workload import Beyond
from surrogates.models.boosting import Booster, nonnegative_weights, task_folds
from surrogates.models.costs import CostModel
from surrogates.models.failures import FailureModel
from surrogates.models.neighbours import learn_bandwidth, likeness, weighted_scores
from surrogates.recommender import Recommender
from tests.surrogates.synthetic import World, make


@given(st.lists(st.floats(0, 50) | st.just(float("nan")), min_size=1, max_size=10), st.floats(0.01, 100))
def test_likeness_weights_sum_to_one_and_fall_with_distance(distances: list[float], bandwidth: float) -> None:
    weights = likeness(np.array(distances), bandwidth)
    assert weights.sum() == pytest.approx(1.0)
    known = np.flatnonzero(~np.isnan(distances))
    order = known[np.argsort(np.array(distances)[known], kind="stable")]
    assert (np.diff(weights[order]) <= 1e-15).all()


@given(st.integers(1, 30), st.integers(1, 10), st.integers(0, 100))
def test_folds_leave_every_task_out_once(tasks: int, most: int, seed: int) -> None:
    folds = task_folds(tasks, most, seed=seed)
    assert sorted(int(task) for fold in folds for task in fold) == list(range(tasks))
    assert len(folds) == min(tasks, most)


def test_weighted_scores_average_over_the_tasks_that_ran_it() -> None:
    scores = np.array([[[1.0], [np.nan]], [[3.0], [np.nan]], [[np.nan], [5.0]]])
    means, counts = weighted_scores(np.array([[0.25, 0.75, 0.0]]), scores)
    assert means[0, :, 0].tolist() == [2.5, 0.0]
    assert counts[0, 0, 0] == pytest.approx(1.6)
    assert counts[0, 1, 0] == 0.0


def test_likeness_is_trusted_only_where_it_tells_results() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(12, 2))
    slopes = np.linspace(-1, 1, 20)
    told = np.sin(features[:, :1] * 2)[:, :, None] * slopes[None, :, None]
    assert learn_bandwidth(features, told) < np.inf
    assert learn_bandwidth(features, np.broadcast_to(slopes[None, :, None], told.shape) + 0 * told) == np.inf
    chance = [learn_bandwidth(rng.normal(size=(8, 3)), rng.normal(size=(8, 30, 3))) for _ in range(20)]
    assert np.isinf(chance).mean() >= 0.8


@given(st.integers(0, 1000))
def test_combination_weights_are_not_negative_and_find_the_truth(seed: int) -> None:
    rng = np.random.default_rng(seed)
    columns = rng.normal(size=(400, 3))
    truth = np.array([0.7, 0.0, 0.3])
    found = nonnegative_weights(columns, columns @ truth, np.array([0.0, 0.0, 1.0]), strength=0.001)
    assert (found >= 0).all()
    assert np.abs(found - truth).max() < 0.02


def test_without_rows_the_prior_weights_hold() -> None:
    prior = np.array([0.0, 1.0])
    assert nonnegative_weights(np.zeros((0, 2)), np.zeros(0), prior, strength=0.1).tolist() == prior.tolist()


def test_trees_are_the_same_twice() -> None:
    rng = np.random.default_rng(2)
    inputs, targets = rng.normal(size=(500, 6)), rng.normal(size=500)
    first, second = (Booster(inputs, targets, rounds=30, seed=1).predict(inputs) for _ in range(2))
    assert np.array_equal(first, second)


def _encoder(names: int) -> ConfigEncoder:
    return ConfigEncoder(Space({f"x{place}": {"min": 0.0, "max": 1.0} for place in range(names)}))


def test_seconds_follow_size_beyond_what_was_seen() -> None:
    rng = np.random.default_rng(3)
    sizes = np.linspace(-1.5, 1.5, 8)
    configs = rng.uniform(size=(30, 2))
    costs = np.exp(sizes[:, None] + configs[None, :, 0])
    shape = np.array([0.25, 1.0])
    features = np.stack([sizes, rng.normal(size=8)], axis=1)
    model = CostModel(_encoder(2), configs, features, costs, shape, seed=0)
    told = model.seconds(model.config_parts, np.array([3.0, 0.0]))
    assert np.allclose(told[:, 1], np.exp(3.0 + configs[:, 0]), rtol=0.25)
    assert np.allclose(told[:, 0], 0.25 * told[:, 1])
    assert (model.seconds(model.config_parts, np.array([np.nan, np.nan])) > 0).all()


def test_where_a_workload_is_known_a_line_speaks_only_within_what_was_seen() -> None:
    rng = np.random.default_rng(3)
    sizes = np.linspace(-1.5, 1.5, 8)
    costs = np.exp(sizes[:, None] + rng.uniform(size=(1, 30)))
    configs = rng.uniform(size=(30, 2))
    model = CostModel(_encoder(2), configs, sizes[:, None], costs, np.ones(1), seed=0)
    edge = model.seconds(model.config_parts, np.array([1.5]))
    told = model.seconds(model.config_parts, np.array([3.0]), Beyond(amount=2.0, speed=0.5))
    assert np.allclose(told, 4.0 * edge)
    slow = model.seconds(model.config_parts, np.array([3.0]), Beyond(speed=0.5))
    assert np.allclose(slow, 2.0 * model.seconds(model.config_parts, np.array([3.0])))


def test_seconds_of_configs_that_nobody_ran_follow_those_of_their_like() -> None:
    rng = np.random.default_rng(5)
    configs, fresh = rng.uniform(size=(25, 2)), rng.uniform(size=(10, 2))
    parts = rng.normal(size=(6, 1)) + np.sin(3 * configs[:, 0]) + 0.02 * rng.normal(size=(6, 25))
    model = CostModel(_encoder(2), configs, np.zeros((6, 0)), np.exp(parts), np.ones(1), seed=0)
    told = model.parts_of(fresh, np.full(10, -1))
    apart = told - np.sin(3 * fresh[:, 0])
    assert np.std(apart) < 0.2 * np.std(told)


def test_cost_without_any_seconds_is_refused() -> None:
    with pytest.raises(InputError, match="no epoch has a cost above 0"):
        CostModel(
            _encoder(1), np.zeros((2, 1)), np.zeros((2, 0)), np.full((2, 2), np.nan), np.ones(1), seed=0
        )


def test_failures_are_told_from_the_config_and_drawn_to_its_own_record() -> None:
    rng = np.random.default_rng(4)
    configs = rng.uniform(size=(80, 3))
    shares = np.repeat((configs[None, :, 0] > 0.7).astype(float), 6, axis=0)
    model = FailureModel(configs, rng.normal(size=(6, 2)), shares, seed=0)
    fresh = np.array([[0.95, 0.5, 0.5], [0.1, 0.5, 0.5]])
    told = model.predict(fresh, np.array([-1, -1]), np.zeros(2))
    assert told[0] > 0.6 > 0.2 > told[1]
    recorded = model.predict(configs, np.arange(80), np.zeros(2))
    assert recorded[shares[0] == 1].min() > recorded[shares[0] == 0].max()


def test_trust_goes_to_the_model_where_it_earned_it_and_to_the_record_where_not() -> None:
    telling = Recommender.fit(make(World(tasks=10, configs=40, epochs=3, seed=2)))
    silent = Recommender.fit(
        make(World(tasks=10, configs=40, epochs=3, seed=2, informative=False, strength=0.1))
    )
    heard, unheard = telling.kernel.parameters, silent.kernel.parameters
    assert heard.by_features > 2 * heard.shared
    assert unheard.by_features < 0.1 * unheard.shared
    assert telling.blend.seen[3] < 0.25 < silent.blend.seen[3]
    assert np.isinf(silent.neighbourhood.bandwidth)
    assert telling.neighbourhood.bandwidth < np.inf
