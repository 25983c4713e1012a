"""Where a root's surrogate actor was started: what stands beside the root, without a look at any cluster."""

import json
from dataclasses import dataclass
from pathlib import Path

from orchestrator.metadataset.layout import RootLayout


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a root's surrogate actor answers."""

    address: str
    """Of its Ray cluster."""
    pid: int
    """Of the process that started it."""


def endpoint_of(root: Path) -> Endpoint | None:
    """Return where a root's actor was started last; whether it still answers is another matter."""
    try:
        return Endpoint(**json.loads(RootLayout(root).endpoint_json.read_text()))
    except FileNotFoundError:
        return None
