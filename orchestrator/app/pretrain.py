"""Making the embedded base model anew, or others like it."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from workers.models.pretraining import PretrainingSettings
from workers.models.pretraining import pretrain as pretrain_model


def pretrain_base(
    out: Path, *, seed: int, changes: Mapping[str, Any] | None = None, console: Console
) -> dict[str, Any]:
    """Pretrain a tiny base model into a folder, or continue where an interrupted run left off.

    Args:
        out: The folder.
        seed: Of the weights, the world and the order of its text.
        changes: Settings other than the shipped model's, by their names; None where left as they are.
        console: Where the log goes, a line at a time.

    Returns:
        What was made, as JSON-like values.
    """
    changed = {name: value for name, value in (changes or {}).items() if value is not None}
    settings = replace(PretrainingSettings(), **changed)
    report = pretrain_model(
        out, seed=seed, settings=settings, log=lambda line: console.print(line, highlight=False, markup=False)
    )
    console.print(
        f"Done: {report.parameters} parameters, {report.cpu_s:.0f} CPU seconds; the model lies in {out}"
    )
    return asdict(report)
