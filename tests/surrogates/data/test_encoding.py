import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from surrogates.data.encoding import ConfigEncoder, FeatureEncoder
from surrogates.data.space import Space
from tests.surrogates.synthetic import SPACE

SPACE_OF_ALL_KINDS = Space(SPACE)
ENCODER = ConfigEncoder(SPACE_OF_ALL_KINDS)
configs = st.integers(0, 10_000).map(lambda seed: SPACE_OF_ALL_KINDS.sample(1, seed=seed)[0])


def test_every_category_enters() -> None:
    base = {"lr": 1e-3, "rank": 8, "rslora": False, "dropout": 0.1}
    rows = ENCODER.encode([{**base, "optim": name} for name in ("adamw", "lion", "sgd", "never declared")])
    assert len({row.tobytes() for row in rows}) == 4


def test_log_range_is_even_in_the_logarithm() -> None:
    space = Space({"lr": {"min": 1e-4, "max": 1e-2, "log": True}})
    encoded = ConfigEncoder(space).encode([{"lr": value} for value in (1e-4, 1e-3, 1e-2)])
    assert encoded[:, 0] == pytest.approx([0.0, 0.5, 1.0])


def test_inactive_is_missing_and_differs_from_every_value() -> None:
    space = Space(
        {"optim": ["sgd", "adam"], "momentum": {"min": 0.0, "max": 1.0, "when": {"optim": ["sgd"]}}}
    )
    encoded = ConfigEncoder(space).encode([{"optim": "adam"}, {"optim": "sgd", "momentum": 0.0}])
    assert np.isnan(encoded).any(axis=1).tolist() == [True, False]


def test_number_between_two_choices_lies_between_them() -> None:
    encoded = ConfigEncoder(Space({"rank": [4, 8, 16]})).encode(
        [{"rank": value} for value in (4, 6, 8, 16, 64)]
    )
    assert encoded[:, 0].tolist() == [0.0, 0.25, 0.5, 1.0, 1.0]


@given(configs, configs, configs)
def test_distances_are_a_metric_within_one(
    a: dict[str, object], b: dict[str, object], c: dict[str, object]
) -> None:
    encoded = ENCODER.encode([a, b, c])  # type: ignore[list-item]
    distances = ENCODER.distances(encoded, encoded)
    assert np.array_equal(distances, distances.T)
    assert (np.diag(distances) == 0).all()
    assert distances.max() <= 1.0 + 1e-12
    assert distances[0, 2] <= distances[0, 1] + distances[1, 2] + 1e-12
    assert (distances[0, 1] == 0) == (a == b)


@given(
    st.lists(st.fixed_dictionaries({"a": st.floats(-1e9, 1e9), "b": st.just(7.0)}), min_size=2, max_size=10)
)
def test_features_are_centred_and_constant_ones_are_left_out(tasks: list[dict[str, float]]) -> None:
    encoder = FeatureEncoder.fitted(tasks)
    assert "b" not in encoder.names
    if encoder.names:
        encoded = encoder.encode(tasks)
        assert abs(encoded.mean()) < 1e-6
        assert encoded.std() == pytest.approx(1.0, abs=1e-6)


def test_missing_and_unknown_features_are_missing_and_ignored() -> None:
    encoder = FeatureEncoder.fitted([{"rows": 1.0, "tokens": 5.0}, {"rows": 2.0, "tokens": 50.0}])
    encoded = encoder.encode([{"rows": 1.5, "colour": 3.0}, {"rows": math.inf, "tokens": 5.0}])
    assert np.isnan(encoded).tolist() == [[False, True], [True, False]]


def test_only_features_that_are_named_and_differ_are_encoded() -> None:
    tasks = [{"rows": 1.0, "tokens": 5.0, "layers": 2.0}, {"rows": 2.0, "tokens": 50.0, "layers": 2.0}]
    assert FeatureEncoder.fitted(tasks).names == ("rows", "tokens")
    assert FeatureEncoder.fitted(tasks, ["tokens", "layers", "colour"]).names == ("tokens",)
    assert FeatureEncoder.fitted(tasks, []).encode(tasks).shape == (2, 0)
