"""What tests of the workers share: one thread, and a random tiny base made once."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.support.tiny import make_base
from workers.models.base import BaseModel, load_base


@pytest.fixture(scope="session", autouse=True)
def _single_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def random_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny Phi-3 with random weights."""
    return make_base(tmp_path_factory.mktemp("random-base"))


@pytest.fixture(scope="session")
def loaded_base(random_base: Path) -> BaseModel:
    """The random base, loaded; tests must leave it as it is."""
    return load_base(str(random_base))
