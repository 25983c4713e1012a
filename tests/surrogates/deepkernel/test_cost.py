"""The cost network: positive, right in the mean, moved by what is measured."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.contracts import InputError
from surrogates.data.normalisation import Array
from surrogates.deepkernel.cost import CostNetwork, Ratios


def world(tasks: int = 8, seed: int = 3) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(seed)
    sizes = np.linspace(-1.5, 1.5, tasks)
    configs = rng.uniform(size=(30, 3))
    logs = sizes[:, None] + configs[None, :, 0] + 0.1 * rng.normal(size=(tasks, 30))
    return configs, np.stack([sizes, rng.normal(size=tasks)], axis=1), np.exp(logs)


def test_seconds_on_tasks_left_out_are_positive_and_right_in_the_mean() -> None:
    configs, features, seconds = world()
    ratios = []
    for task in (1, 3, 6):
        kept = np.arange(8) != task
        net = CostNetwork(configs, features[kept], seconds[kept], seed=0)
        told = net.full_s(configs, features[task])
        assert (told > 0).all()
        assert np.corrcoef(np.log(told), np.log(seconds[task]))[0, 1] > 0.6
        ratios.append(seconds[task].sum() / told.sum())
        assert (net.full_s(configs, None) > 0).all()
        assert (net.full_s(configs, np.full(2, np.nan)) > 0).all()
    assert 0.6 < np.mean(ratios) < 1.6


@pytest.mark.parametrize(("tasks", "count"), [(1, 1), (1, 4), (2, 1), (3, 2)])
def test_few_rows_are_enough(tasks: int, count: int) -> None:
    configs, features, seconds = world(tasks)
    net = CostNetwork(configs[:count], features, seconds[:, :count], seed=0)
    told = net.full_s(configs, features[0])
    assert np.isfinite(told).all()
    assert (told > 0).all()


def test_columns_without_any_difference_are_allowed() -> None:
    net = CostNetwork(np.zeros((4, 2)), np.zeros((3, 0)), np.full((3, 4), 5.0), seed=0)
    assert net.full_s(np.zeros((2, 2)), np.zeros(0)) == pytest.approx([5.0, 5.0], rel=0.05)


def test_cost_without_any_seconds_is_refused() -> None:
    with pytest.raises(InputError, match="no epoch has a cost above 0"):
        CostNetwork(np.zeros((2, 1)), np.zeros((2, 0)), np.full((2, 2), np.nan), seed=0)


@given(st.floats(0.01, 100), st.integers(1, 50))
def test_the_measured_ratio_moves_what_is_told_towards_it(ratio: float, count: int) -> None:
    told = Ratios(between=0.5, within=0.2).told(np.full(count, 3.0 * ratio), np.full(count, 3.0))
    assert min(1.0, ratio) - 1e-9 <= told <= max(1.0, ratio) + 1e-9
    assert abs(np.log(told / ratio)) <= abs(np.log(ratio)) / (1 + count * 6) + 1e-9


def test_nothing_measured_leaves_what_is_told() -> None:
    assert Ratios(between=0.5, within=0.2).told(np.zeros(0), np.zeros(0)) == 1.0
