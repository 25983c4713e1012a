"""What holds for all tests."""

import os
import signal
from collections.abc import Iterator

import pytest

# Ray starts workers at niceness 15: beside the tests that wait for them they would starve.
os.environ.setdefault("RAY_worker_niceness", "0")

# Before numpy is loaded, and for what the tests start. On matrices as small as ours a second thread of BLAS
# mostly waits for the first: on two busy cores one fit took 16 to 20 s of CPU time instead of 2.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# What a shell starts in the background ignores Ctrl-C, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the tests, and what they start, out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FORETUNE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
