"""Tiny models of the families, made and loaded once."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.support.families import make_family
from workers.models.base import BaseModel, load_base

LoadFamily = Callable[..., BaseModel]


@pytest.fixture(scope="session")
def load_family(tmp_path_factory: pytest.TempPathFactory) -> LoadFamily:
    """Load a family's tiny model by name, precision and type; tests must leave it as it is."""

    @cache
    def folder(family: str) -> Path:
        return make_family(family, tmp_path_factory.mktemp(family))

    @cache
    def load(family: str, quant: str = "none", dtype: str = "float32") -> BaseModel:
        return load_base(str(folder(family)), quant=quant, dtype=dtype)

    return load
