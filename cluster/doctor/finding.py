"""What one check found."""

import enum
from dataclasses import dataclass


class Status(enum.StrEnum):
    """How a thing stands."""

    OK = "ok"
    WARNING = "warning"
    """It works, and will be slow, small or open to others."""
    FAILED = "failed"
    """It will not work."""
    NOT_CHECKED = "not checked"
    """It was not asked for, or can't be told here."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    status: Status
    found: str
    """What is there, with values."""
    advice: str | None = None
    """What to do about it; None where there is nothing to do."""


def size(size_bytes: float) -> str:
    """Return a size as people read it: ``512 MiB``, ``23.6 GiB``."""
    if size_bytes < 2**30:
        return f"{size_bytes / 2**20:.0f} MiB"
    return f"{size_bytes / 2**30:.1f} GiB"
