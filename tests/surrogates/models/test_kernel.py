from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import approx_fprime

from surrogates.data.encoding import ConfigEncoder, FeatureEncoder
from surrogates.data.normalisation import Array
from surrogates.data.score_table import ScoreTable, build_table
from surrogates.models.kernel import KernelModel
from surrogates.models.kernel_parameters import _MarginalLikelihood, matern
from tests.surrogates.synthetic import World, make


@cache
def learned(world: World) -> tuple[KernelModel, ScoreTable, Array, Array]:
    meta = make(world)
    table, encoder = build_table(meta), ConfigEncoder(meta.space)
    tasks = [task.features for task in meta.tasks]
    features = FeatureEncoder.fitted(tasks).encode(tasks)
    configs = encoder.encode([meta.configs[key] for key in table.config_ids])
    return KernelModel(encoder, configs, features, table.scores, seed=0), table, features, configs


TOLD = World(tasks=8, configs=24, epochs=3)
UNTOLD = World(tasks=8, configs=24, epochs=3, informative=False, strength=0.3)
UNSHARED = World(tasks=5, configs=12, epochs=3, shared=False)


@given(st.integers(0, 10_000))
@settings(max_examples=20)
def test_gradient_of_the_likelihood_is_that_of_finite_differences(seed: int) -> None:
    rng = np.random.default_rng(seed)
    names, rows, configs, tasks, columns = 3, 10, 6, 5, 2
    points = rng.normal(size=(names, configs))
    likelihood = _MarginalLikelihood(
        (points[:, :, None] - points[:, None, :]) ** 2,
        rng.normal(size=(tasks, columns)),
        rng.integers(0, tasks, rows),
        rng.permutation(np.append(np.arange(configs), rng.integers(0, configs, rows - configs))),
        rng.normal(size=(rows, 2)),
    )
    at = likelihood.start + 0.3 * rng.normal(size=len(likelihood.start))
    by_hand = approx_fprime(at, lambda logs: likelihood(logs)[0], 1e-6)
    assert np.allclose(likelihood(at)[1], by_hand, rtol=1e-3, atol=1e-3)


def _refitted(model: KernelModel, keep: NDArray[np.bool_], task: int, configs: NDArray[np.int64]) -> Array:
    """Predict one task's configs from some of the trials, the long way."""
    rows, tasks = model._rows[keep], model._tasks[keep]
    parameters, features = model.parameters, model._features
    weights = parameters.shared + parameters.by_features * parameters.task_likeness(features, features)
    own = parameters.own * np.eye(len(features))
    kernel = model.likeness(model._configs[rows], model._configs[rows])
    covariance = kernel * (weights + own)[np.ix_(tasks, tasks)]
    covariance += parameters.per_config * (rows[:, None] == rows[None, :]) + parameters.noise * np.eye(
        len(rows)
    )
    assert model._inverse is not None
    targets = np.linalg.solve(model._inverse, model.alpha)[keep]
    across = model.likeness(model._configs[configs], model._configs[rows]) * weights[task, tasks]
    across += parameters.per_config * (configs[:, None] == rows[None, :])
    return np.asarray(model.mean + across @ np.linalg.solve(covariance, targets))


@pytest.mark.parametrize("world", [TOLD, UNSHARED])
def test_leaving_a_task_out_in_closed_form_is_predicting_without_its_trials(world: World) -> None:
    model, table, _, _ = learned(world)
    told = model.left_out(table.is_run).with_features
    for task in range(len(table.task_ids)):
        configs = np.flatnonzero(table.is_run[task])
        expected = _refitted(model, model._tasks != task, task, configs)
        assert np.allclose(told[task, configs], expected, atol=1e-6)


def test_leaving_configs_out_too_is_predicting_without_any_trial_of_theirs() -> None:
    model, table, _, _ = learned(TOLD)
    asked = np.zeros(table.is_run.shape, dtype=bool)
    asked[2, 3:9] = True
    told = model.left_out_fresh(asked).with_features
    keep = (model._tasks != 2) & ~np.isin(model._rows, np.arange(3, 9))
    assert np.allclose(told[2, 3:9], _refitted(model, keep, 2, np.arange(3, 9)), atol=1e-6)
    assert np.isnan(told[~asked]).all()


def test_meta_features_that_tell_make_predictions_better_than_the_average_over_tasks() -> None:
    model, table, _, _ = learned(TOLD)
    gaps = model.left_out(table.is_run).with_features - table.scores
    averages = [
        np.delete(table.scores, task, axis=0).mean(axis=0) - table.scores[task] for task in range(len(gaps))
    ]
    assert (gaps**2).mean() < 0.5 * (np.array(averages) ** 2).mean()


def test_meta_features_that_say_nothing_are_hardly_heard() -> None:
    model, _, features, configs = learned(UNTOLD)
    pool = model.project(configs, np.arange(len(configs)))
    apart = np.abs(model.predict(pool, features[0]) - model.predict(pool, features[1])).mean()
    told, _, known, same = learned(TOLD)
    pool = told.project(same, np.arange(len(same)))
    assert apart < 0.25 * np.abs(told.predict(pool, known[0]) - told.predict(pool, known[1])).mean()


def test_a_task_far_from_all_is_answered_as_an_unknown_one() -> None:
    model, _, features, configs = learned(TOLD)
    pool = model.project(configs, np.arange(len(configs)))
    unknown = model.predict(pool, None)
    assert np.allclose(model.predict(pool, np.full(features.shape[1], 1e4)), unknown)
    assert not np.allclose(model.predict(pool, features[0]), unknown)


def test_configs_that_many_tasks_ran_are_told_closer_than_fresh_ones() -> None:
    model, table, _, _ = learned(TOLD)
    seen = model.left_out(table.is_run).with_features
    fresh = np.full(seen.shape, np.nan)
    for part in range(4):
        asked = np.zeros(table.is_run.shape, dtype=bool)
        asked[:, part::4] = True
        told = model.left_out_fresh(asked).with_features
        fresh[asked] = told[asked]
    assert np.nanmean((seen - table.scores) ** 2) < np.nanmean((fresh - table.scores) ** 2)


@given(st.floats(0, 1e4))
def test_likeness_of_configs_falls_with_their_distance(square: float) -> None:
    kernel, slope = matern(np.array([square, square * 1.1 + 1e-3]))
    assert 0.0 <= kernel[1] <= kernel[0] <= 1.0
    assert (slope <= 0).all()
