"""Options that several commands share, and what they parse."""

import re
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.contracts import InputError

Address = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="A running Ray cluster, or `auto`; left out: an embedded one."),
]
ServerAddress = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="URL",
        help="The job server of the cluster that ROOT was submitted to, such as http://HOST:8265.",
    ),
]
Mirror = Annotated[
    str | None,
    typer.Option(metavar="URI", help="Publish the Parquet there as well, such as s3://BUCKET/PREFIX."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print machine-readable JSON and nothing else.")]
Root = Annotated[Path, typer.Argument(metavar="ROOT", help="A sweep's folder.")]

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"\s*([0-9]*\.?[0-9]+)\s*([a-z]*)\s*", re.IGNORECASE)


def parse_budget(text: str) -> float:
    """Return a budget in seconds; see ``parse_duration``."""
    return parse_duration(text, "--budget")


def parse_duration(text: str, option: str) -> float:
    """Return a time span in seconds.

    Args:
        text: A number with a unit: ``90s``, ``45m``, ``5h``, ``1.5d``; a bare number is seconds.
        option: What it was given to, for the error.

    Returns:
        Seconds, above 0.

    Raises:
        InputError: It is no such thing, or not above 0.
    """
    match = _DURATION.fullmatch(text)
    unit = (match.group(2).lower() or "s") if match else ""
    if match is None or unit not in _UNITS_S:
        raise InputError(f"{option} must be a number with a unit, such as 60s, 45m or 5h; got {text!r}")
    duration_s = float(match.group(1)) * _UNITS_S[unit]
    if not duration_s > 0:
        raise InputError(f"{option} must be above 0, got {text!r}")
    return duration_s
