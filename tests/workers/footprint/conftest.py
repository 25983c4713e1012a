"""What these tests share: small models of several architectures, made once."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.families import make_family


@pytest.fixture(scope="session")
def family(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """From an architecture's name to a folder with a model of two layers, 64 numbers wide."""
    made: dict[str, Path] = {}

    def folder(name: str) -> str:
        if name not in made:
            made[name] = make_family(name, tmp_path_factory.mktemp(name), hidden=64)
        return str(made[name])

    return folder
