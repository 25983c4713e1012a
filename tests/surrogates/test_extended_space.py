"""A space with conditions and forbidden clauses, such as the workers declare, is honoured throughout."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from orchestrator.contracts import Config
from surrogates.data.encoding import ConfigEncoder
from surrogates.data.space import Space
from surrogates.metadataset import MetaDataset
from surrogates.recommender import Recommender
from tests.surrogates.roots import write_trials
from workers.space import SearchSpace

DECLARED = SearchSpace.preset("tiny-extended")
CONFIGS = DECLARED.sample(24, seed=0)


@pytest.fixture(scope="module")
def meta(tmp_path_factory: pytest.TempPathFactory) -> MetaDataset:
    root: Path = tmp_path_factory.mktemp("extended")
    failed = DECLARED.sample(25, seed=0)[-1]
    write_trials(root, DECLARED.to_json(), tasks=range(3), configs=CONFIGS, failed=failed)
    return MetaDataset.from_root(root)


def assert_in_space(configs: Sequence[Config]) -> None:
    for config in configs:
        assert DECLARED.check(config) == config


def test_fresh_draws_and_the_default_are_configs_of_the_declared_space() -> None:
    space = Space.from_json(DECLARED.to_json())
    assert_in_space(space.sample(500, seed=3))
    assert space.default() == DECLARED.default()


def test_configs_of_a_root_come_back_as_they_were_drawn(meta: MetaDataset) -> None:
    assert sorted(map(repr, (sorted(config.items()) for config in meta.configs.values()))) == sorted(
        repr(sorted(config.items())) for config in CONFIGS
    )


def test_inactive_names_are_missing_in_every_column_and_active_ones_in_none(meta: MetaDataset) -> None:
    encoder = ConfigEncoder(meta.space)
    encoded = encoder.encode(CONFIGS)
    place = 0
    for parameter in meta.space.parameters:
        if len(parameter.choices) == 1:
            continue
        width = len(parameter.choices) if parameter.choices and not parameter.is_ordered else 1
        columns = encoded[:, place : place + width]
        active = np.array([parameter.name in config for config in CONFIGS])
        assert (np.isnan(columns) == ~active[:, None]).all(), parameter.name
        place += width
    assert place == encoder.width


def test_recommender_offers_only_configs_of_the_declared_space(meta: MetaDataset) -> None:
    recommender = Recommender.fit(meta)
    assert (recommender.pool.places < 0).any()
    assert_in_space(recommender.pool.configs)
