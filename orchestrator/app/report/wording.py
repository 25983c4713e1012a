"""Numbers and values as they are read: few digits, units, no noise."""

import math

from orchestrator.app.progress import duration
from orchestrator.contracts import Config, Scalar

MISSING = "–"
CONFIG = "config, where it is not the default"
"""Heads a column of ``brief`` configs."""


def digits(value: float | None, count: int = 3) -> str:
    """Return a number with so many significant digits; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return MISSING
    if value == 0 or 1e-4 <= abs(value) < 1e6:
        decimals = 0 if value == 0 else max(0, count - 1 - math.floor(math.log10(abs(value))))
        return f"{value:,.{decimals}f}"
    return f"{value:.{count - 1}e}"


def score(value: float | None) -> str:
    """Return a share in [0, 1] with two decimals."""
    return MISSING if value is None or not math.isfinite(value) else f"{value:.2f}"


def seconds(value: float | None) -> str:
    """Return seconds: below a minute with a digit behind the point, then as people say them."""
    if value is None or not math.isfinite(value):
        return MISSING
    return f"{value:.1f} s" if value < 59.95 else duration(value)


def count(number: int, what: str) -> str:
    """Return a number of things: ``1 trial``, ``1,800 trials``."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def value(scalar: Scalar) -> str:
    """Return a hyperparameter's value."""
    return f"{scalar:.3g}" if isinstance(scalar, float) else str(scalar)


def brief(config: Config, default: Config, constant: frozenset[str] = frozenset()) -> str:
    """Return what of a config differs from the default, names that never vary left out."""
    parts = [
        f"{name}={value(setting)}"
        for name, setting in sorted(config.items())
        if name not in constant and (name not in default or setting != default[name])
    ]
    return ", ".join(parts) or "the default"
