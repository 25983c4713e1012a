"""Making the embedded base model anew."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from workers.models.pretraining import PretrainingSettings
from workers.models.pretraining import pretrain as pretrain_model


def pretrain_base(out: Path, *, seed: int, steps: int | None, console: Console) -> dict[str, Any]:
    """Pretrain the tiny Phi-3 into a folder, or continue where an interrupted run left off.

    Args:
        out: The folder.
        seed: Of the weights, the world and the order of its text.
        steps: Optimizer steps; None: those of the shipped model.
        console: Where the log goes, a line at a time.

    Returns:
        What was made, as JSON-like values.
    """
    settings = PretrainingSettings()
    if steps is not None:
        settings = replace(settings, steps=steps)
    report = pretrain_model(
        out, seed=seed, settings=settings, log=lambda line: console.print(line, highlight=False, markup=False)
    )
    console.print(
        f"Done: {report.parameters} parameters, {report.cpu_s:.0f} CPU seconds; the model lies in {out}"
    )
    return asdict(report)
