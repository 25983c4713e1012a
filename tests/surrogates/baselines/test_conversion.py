import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import create_trial

from orchestrator.contracts import Config
from surrogates.baselines.conversion import Conversion, NearestCandidate
from surrogates.data.encoding import ConfigEncoder
from surrogates.data.space import Space
from tests.surrogates.synthetic import SPACE

WIDE = Space(
    {
        **SPACE,
        "batch": {"min": 1, "max": 512, "log": True, "integer": True},
        "layers": {"min": 2, "max": 9, "integer": True},
        "init": [None, "pissa", True, 3],
    }
)
CONVERSION = Conversion(WIDE)
POOL = WIDE.sample(60, seed=1)
configs = st.sampled_from(POOL)
unhurried = settings(deadline=None)
"""The first example imports a library."""


def _active(proposal: Config, config: Config) -> dict[str, object]:
    return {name: proposal[name] for name in CONVERSION.names if name in config}


def _known(config: Config) -> dict[str, object]:
    return {name: config[name] for name in CONVERSION.names if name in config}


@unhurried
@given(configs)
def test_a_config_comes_back_from_a_librarys_values(config: Config) -> None:
    assert _active(CONVERSION.config(CONVERSION.values(config)), config) == _known(config)


@unhurried
@given(configs)
def test_a_config_comes_back_from_the_unit_cube(config: Config) -> None:
    back = _active(CONVERSION.from_unit(CONVERSION.to_unit(config)), config)
    for name, value in _known(config).items():
        assert back[name] == (pytest.approx(value, rel=1e-9) if isinstance(value, float) else value)


@unhurried
@given(st.lists(st.floats(0.0, 1.0), min_size=len(CONVERSION.names), max_size=len(CONVERSION.names)))
def test_every_point_of_the_unit_cube_is_a_config_of_the_space(point: list[float]) -> None:
    config = CONVERSION.from_unit(np.array(point))
    for parameter in WIDE.parameters:
        if len(parameter.choices) == 1:
            assert parameter.name not in config
        elif parameter.choices:
            assert any(config[parameter.name] is choice for choice in parameter.choices)
        else:
            value = config[parameter.name]
            assert isinstance(value, int if parameter.is_integer else float)
            assert parameter.low <= value <= parameter.high


@unhurried
@given(configs)
def test_the_libraries_accept_a_configs_values(config: Config) -> None:
    values = CONVERSION.values(config)
    create_trial(params=values, distributions=CONVERSION.optuna_distributions(), value=0.0)
    domains = CONVERSION.synetune_space()
    assert set(domains) == set(values)
    assert all(domains[name].is_valid(value) for name, value in values.items())


def test_an_inactive_name_has_its_default_and_one_without_has_its_ranges_middle() -> None:
    values = Conversion(Space(SPACE)).values({"optim": "adamw", "rank": 8})
    assert values["lr"] == 1e-3
    assert values["momentum"] == pytest.approx(0.495)


def test_a_value_that_is_not_declared_is_drawn_to_the_nearest_that_is() -> None:
    values = Conversion(Space(SPACE)).values({"lr": 7.0, "rank": 15, "optim": "adafactor", "dropout": -1.0})
    assert (values["lr"], values["rank"], values["optim"], values["dropout"]) == (0.1, 2, 0, 0.0)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, len(POOL) - 1), st.sets(st.integers(0, len(POOL) - 1), min_size=1))
def test_a_candidate_stands_for_itself_and_otherwise_the_nearest_allowed_one(
    own: int, others: set[int]
) -> None:
    nearest = NearestCandidate(WIDE, CONVERSION, POOL)
    proposal = CONVERSION.config(CONVERSION.values(POOL[own]))
    everyone = np.ones(len(POOL), dtype=bool)
    found = nearest.find(proposal, everyone)
    assert CONVERSION.values(POOL[found]) == CONVERSION.values(POOL[own])
    allowed = np.isin(np.arange(len(POOL)), list(others))
    chosen = nearest.find(proposal, allowed)
    encoder = ConfigEncoder(WIDE)
    complete = encoder.encode([CONVERSION.config(CONVERSION.values(config)) for config in POOL])
    distances = encoder.distances(encoder.encode([proposal]), complete)[0]
    assert allowed[chosen]
    assert distances[chosen] == distances[allowed].min()


def test_choices_lie_at_the_middles_of_their_shares() -> None:
    conversion = Conversion(Space({"rank": [4, 8, 16, 32]}))
    assert [conversion.to_unit({"rank": rank})[0] for rank in (4, 8, 16, 32)] == [0.125, 0.375, 0.625, 0.875]
