"""What a pretraining run is continued from: weights, optimiser moments and step, in one safetensors file.

The file is written aside and renamed, so that a reader finds the last whole one. It belongs to one run:
its identity, a hash of seed and settings, is in it, and another run refuses it.
"""

import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from orchestrator.contracts import InputError

_MOMENTS = ("exp_avg", "exp_avg_sq")


def save_state(
    path: Path,
    model: torch.nn.Module,
    optimizer: torch.optim.AdamW,
    *,
    step: int,
    identity: str,
    cpu_s: float,
) -> None:
    """Write the run's state.

    Args:
        path: The file.
        model: With its weights.
        optimizer: Over all of the model's parameters.
        step: Steps done.
        identity: Of the run.
        cpu_s: Seconds of the process so far, over all its attempts.
    """
    tensors = {}
    for name, weight in model.named_parameters():
        tensors[f"weight/{name}"] = weight.detach()
        for moment in _MOMENTS:
            tensors[f"{moment}/{name}"] = optimizer.state[weight][moment]
    about = {"step": str(step), "identity": identity, "cpu_s": json.dumps(cpu_s)}
    aside = path.with_suffix(".tmp")
    save_file(tensors, aside, metadata=about)
    with aside.open("rb") as written:
        os.fsync(written.fileno())
    aside.replace(path)


def restore_state(
    path: Path, model: torch.nn.Module, optimizer: torch.optim.AdamW, *, identity: str
) -> tuple[int, float]:
    """Load a run's state into model and optimiser.

    Args:
        path: The file; if there is none, nothing is loaded.
        model: Built with the settings of the run.
        optimizer: Over all of the model's parameters, before its first step.
        identity: Of the run.

    Returns:
        Steps done, and seconds of CPU they took.

    Raises:
        InputError: The state is another run's, or can't be read.
    """
    if not path.exists():
        return 0, 0.0
    try:
        with safe_open(path, "pt") as stored:
            about = stored.metadata() or {}
            if about.get("identity") != identity:
                raise InputError(
                    f"{path} was left by a pretraining with another seed or other settings; "
                    "continue that one, or choose another folder"
                )
            step = int(about["step"])
            with torch.no_grad():
                for name, weight in model.named_parameters():
                    weight.copy_(stored.get_tensor(f"weight/{name}"))
                    moments = {moment: stored.get_tensor(f"{moment}/{name}") for moment in _MOMENTS}
                    optimizer.state[weight] = {"step": torch.tensor(float(step)), **moments}
    except (SafetensorError, KeyError, ValueError) as error:
        raise InputError(
            f"{path} can't be read as a pretraining state ({error}); remove it to start anew"
        ) from error
    return step, json.loads(about["cpu_s"])
