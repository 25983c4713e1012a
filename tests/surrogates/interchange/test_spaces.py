import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.contracts import Config, InputError
from surrogates.data.space import Parameter
from surrogates.interchange.spaces import declare, guess, guess_conditions


@given(st.lists(st.integers(-1000, 1000) | st.floats(-1e3, 1e3), min_size=1))
def test_guessed_parameter_has_room_for_every_value(values: list[int | float]) -> None:
    guessed = guess("x", values)
    if guessed.choices:
        assert set(values) == set(guessed.choices)
    else:
        assert guessed.low == min(values)
        assert guessed.high == max(values)
    declare([guessed])


def test_numbers_that_span_decades_are_logarithmic_and_whole_ones_integers() -> None:
    wide = guess("lr", [10.0**-place for place in range(1, 13)])
    assert wide.is_log
    assert not wide.is_integer
    narrow = guess("n", list(range(1, 13)))
    assert narrow.is_integer
    assert not narrow.is_log


def test_condition_is_guessed_where_a_choice_tells_active_from_inactive_and_nowhere_else() -> None:
    optim = Parameter(name="optim", choices=("adam", "sgd"))
    momentum = Parameter(name="momentum", low=0.0, high=1.0)
    told: list[Config] = [{"optim": "sgd", "momentum": 0.5}, {"optim": "adam"}]
    assert guess_conditions(told, [optim, momentum]) == {"momentum": ("optim", ["sgd"])}
    mixed: list[Config] = [*told, {"optim": "sgd"}]
    assert guess_conditions(mixed, [optim, momentum]) == {}


def test_parameter_that_can_not_be_declared_is_named() -> None:
    with pytest.raises(InputError, match="lr can't be declared"):
        declare([Parameter(name="lr", low=0.0, high=1.0, is_log=True)])
