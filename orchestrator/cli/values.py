"""Hyperparameters and sizes as they are typed."""

import json
import math
import re
from collections.abc import Iterable

from orchestrator.contracts import InputError, Scalar

_SIZE = re.compile(r"\s*([0-9]*\.?[0-9]+)\s*([kmgt]i?b?)\s*", re.IGNORECASE)
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4}


def parse_size(text: str, option: str) -> int:
    """Return a size in bytes.

    Args:
        text: A number with a unit: ``24GB`` (10^9), ``80GiB`` (2^30), ``512M``.
        option: What it was given to, for the error.

    Returns:
        Bytes, above 0.

    Raises:
        InputError: It is no such thing, or not above 0.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise InputError(f"{option} must be a size with a unit, such as 24GB or 80GiB; got {text!r}")
    unit = match.group(2).lower()
    base = 1024.0 if "i" in unit else 1000.0
    size_bytes = round(float(match.group(1)) * math.pow(base, _POWERS[unit[0]]))
    if not size_bytes > 0:
        raise InputError(f"{option} must be above 0, got {text!r}")
    return size_bytes


def parse_fixed(texts: Iterable[str]) -> dict[str, Scalar]:
    """Return what ``--set NAME=VALUE`` demands; an ``InputError`` names what can't be read."""
    fixed: dict[str, Scalar] = {}
    for text in texts:
        name, value = _split(text, "--set")
        if name in fixed:
            raise InputError(f"--set gives {name} twice; give it once")
        fixed[name] = parse_value(value)
    return fixed


def parse_excluded(texts: Iterable[str]) -> dict[str, list[Scalar]]:
    """Return what ``--exclude NAME=VALUE[,VALUE]`` demands; an ``InputError`` names what can't be read."""
    excluded: dict[str, list[Scalar]] = {}
    for text in texts:
        name, values = _split(text, "--exclude")
        excluded.setdefault(name, []).extend(parse_value(value) for value in values.split(","))
    return excluded


def parse_value(text: str) -> Scalar:
    """Return a value as it is typed: a number, ``true``, ``false``, ``null``, or else text."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if value is None or isinstance(value, bool | int | float | str) else text


def _split(text: str, option: str) -> tuple[str, str]:
    name, separator, value = (part.strip() for part in text.partition("="))
    if not (name and separator and value):
        raise InputError(f"{option} must be NAME=VALUE, got {text!r}")
    return name, value
