"""Making the embedded base model anew."""

from dataclasses import replace
from pathlib import Path

from rich.console import Console

from workers.models.pretraining import PretrainingSettings
from workers.models.pretraining import pretrain as pretrain_model


def pretrain_base(out: Path, *, seed: int, steps: int | None, console: Console) -> None:
    """Pretrain the tiny Phi-3 into a folder, or continue where an interrupted run left off.

    Args:
        out: The folder.
        seed: Of the weights, the world and the order of its text.
        steps: Optimizer steps; None: those of the shipped model.
        console: Where the log goes, a line at a time.
    """
    settings = PretrainingSettings()
    if steps is not None:
        settings = replace(settings, steps=steps)
    report = pretrain_model(
        out, seed=seed, settings=settings, log=lambda line: console.print(line, highlight=False, markup=False)
    )
    console.print(f"Done: {report}", highlight=False, markup=False)
