"""Identifiers: opaque, and a function of content alone.

Two sweeps that name the same trial give it the same id, whoever runs them and in whatever order; so nothing
is run twice and meta-datasets merge. Nothing is ever parsed out of an id.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NewType

TaskId = NewType("TaskId", str)
"""A task's content: first 20 hex digits of the hash of its rows."""
ConfigId = NewType("ConfigId", str)
"""One point of a search space, whatever space it was drawn from."""
TrialId = NewType("TrialId", str)
"""One config on one task with one seed, base model and settings."""
WorkerId = NewType("WorkerId", str)
"""One worker process; never used again after its death."""

_ID_LENGTH = 20


def digest(content: Any) -> str:
    """Hash JSON-like content to an id, independent of key order.

    Args:
        content: Mappings with string keys, sequences, strings, finite numbers, booleans and None.

    Returns:
        20 lower-case hexadecimal digits (80 bits of SHA-256).

    Raises:
        ValueError: A float is NaN or infinite.
        TypeError: A value is not JSON-like.
    """
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:_ID_LENGTH]


def config_id(config: Mapping[str, Any]) -> ConfigId:
    """Return the id of a config; 1 and 1.0 are different values, key order is no matter."""
    return ConfigId(digest(dict(config)))
