"""The libraries of other methods: whether they are here, and how to call them without a trace."""

import contextlib
import importlib.util
import io
import logging
import random
import warnings
from collections.abc import Iterator

import numpy as np

from orchestrator.contracts import InputError

EXTRA = "pip install 'foretune[peers]'"


def missing(*packages: str) -> tuple[str, ...]:
    """Return those of these import packages that are not installed."""
    return tuple(package for package in packages if importlib.util.find_spec(package) is None)


def require(method: str, *packages: str) -> None:
    """Refuse a method whose libraries are missing.

    Args:
        method: Its name.
        *packages: What it imports.

    Raises:
        InputError: One is not installed.
    """
    absent = missing(*packages)
    if absent:
        raise InputError(f"{method} needs {', '.join(absent)}, which is not installed; {EXTRA}")


@contextlib.contextmanager
def silenced(*loggers: str) -> Iterator[None]:
    """Keep loggers, warnings and whatever is printed quiet for a while.

    Args:
        *loggers: Names; those below them that set no level of their own are quiet too.

    Yields:
        Nothing.
    """
    found = [logging.getLogger(name) for name in loggers]
    levels = [logger.level for logger in found]
    for logger in found:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(found, levels, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def own_randomness(seed: int) -> Iterator[None]:
    """Seed the global generators for a library that draws from them, and leave them as they were found.

    Args:
        seed: From 0.

    Yields:
        Nothing.
    """
    numpy_state, python_state = np.random.get_state(), random.getstate()
    np.random.seed(seed)
    random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)
