import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from surrogates.data.normalisation import Array
from surrogates.models.boosting import Booster


def spotty(rng: np.random.Generator, rows: int, columns: int, missing: float) -> Array:
    """Few different values and some missing ones, so that thresholds are met exactly."""
    values = np.round(rng.normal(size=(rows, columns)), 1)
    values[rng.random(values.shape) < missing] = np.nan
    return values


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 4), st.sampled_from((0.0, 0.2)), st.integers(1, 40))
def test_leaf_table_says_what_the_trees_say(seed: int, leading: int, missing: float, rounds: int) -> None:
    rng = np.random.default_rng(seed)
    inputs = spotty(rng, 80, leading + 3, missing)
    targets = np.nan_to_num(inputs).sum(axis=1) + rng.normal(size=80)
    booster = Booster(inputs, targets, rounds=40, seed=0)
    rows = spotty(rng, 25, 3, 0.2)
    table = booster.leaf_table(leading, rows, rounds)
    for question in (*spotty(rng, 8, leading, 0.3), np.zeros(leading), np.full(leading, np.nan)):
        asked = np.concatenate([np.tile(question, (len(rows), 1)), rows], axis=1)
        np.testing.assert_allclose(table.at(question), booster.predict(asked, rounds), rtol=0, atol=1e-12)


def test_trees_that_learned_nothing_say_the_mean() -> None:
    booster = Booster(np.zeros((30, 2)), np.full(30, 0.7), rounds=3, seed=0)
    table = booster.leaf_table(1, np.zeros((4, 1)))
    np.testing.assert_allclose(table.at(np.zeros(1)), 0.7)


def test_rows_that_fall_into_the_same_leaves_are_told_exactly_the_same() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(200, 3))
    booster = Booster(inputs, inputs.sum(axis=1), rounds=30, seed=0)
    told = booster.leaf_table(1, np.repeat(rng.normal(size=(9, 2)), 2, axis=0)).at(np.zeros(1))
    assert (told[::2] == told[1::2]).all()
