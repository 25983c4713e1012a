import os

import pytest


@pytest.fixture
def without_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests in which processes die and the machine does not: fsync changes nothing there but the time."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)
