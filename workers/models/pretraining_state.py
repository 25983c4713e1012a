"""What a pretraining run is continued from: weights, optimiser moments and step, in one safetensors file.

The file is written aside and renamed, so that a reader finds the last whole one. It belongs to one run:
its identity, a hash of seed and settings, is in it, and another run refuses it.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from orchestrator.contracts import InputError

_MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run has come."""

    step: int
    """Steps done."""
    cpu_s: float
    """Seconds of CPU over all attempts."""
    entries: tuple[Mapping[str, float], ...]
    """The log's lines."""


def save_state(
    path: Path, model: torch.nn.Module, optimizer: torch.optim.AdamW, *, progress: Progress, identity: str
) -> None:
    """Write the run's state.

    Args:
        path: The file.
        model: With its weights.
        optimizer: Over all of the model's parameters.
        progress: How far the run has come.
        identity: Of the run.
    """
    tensors = {}
    for name, weight in model.named_parameters():
        tensors[f"weight/{name}"] = weight.detach()
        for moment in _MOMENTS:
            tensors[f"{moment}/{name}"] = optimizer.state[weight][moment]
    about = {"identity": identity, "progress": json.dumps(asdict(progress))}
    aside = path.with_suffix(".tmp")
    save_file(tensors, aside, metadata=about)
    with aside.open("rb") as written:
        os.fsync(written.fileno())
    aside.replace(path)


def restore_state(
    path: Path, model: torch.nn.Module, optimizer: torch.optim.AdamW, *, identity: str
) -> Progress:
    """Load a run's state into model and optimiser.

    Args:
        path: The file; if there is none, nothing is loaded.
        model: Built with the settings of the run.
        optimizer: Over all of the model's parameters, before its first step.
        identity: Of the run.

    Returns:
        How far the run has come.

    Raises:
        InputError: The state is another run's, or can't be read.
    """
    if not path.exists():
        return Progress(step=0, cpu_s=0.0, entries=())
    try:
        with safe_open(path, "pt") as stored:
            about = stored.metadata() or {}
            if about.get("identity") != identity:
                raise InputError(
                    f"{path} was left by a pretraining with another seed or other settings; "
                    "continue that one, or choose another folder"
                )
            progress = Progress(**json.loads(about["progress"]))
            with torch.no_grad():
                for name, weight in model.named_parameters():
                    weight.copy_(stored.get_tensor(f"weight/{name}"))
                    moments = {moment: stored.get_tensor(f"{moment}/{name}") for moment in _MOMENTS}
                    optimizer.state[weight] = {"step": torch.tensor(float(progress.step)), **moments}
    except (SafetensorError, KeyError, ValueError) as error:
        raise InputError(
            f"{path} can't be read as a pretraining state ({error}); remove it to start anew"
        ) from error
    return progress
