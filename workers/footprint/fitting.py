"""What fits on a device: how large micro-batches may be, and how many trials share a GPU."""

import os
from collections.abc import Iterable
from pathlib import Path

import torch

from workers.footprint.estimate import Footprint, estimate
from workers.footprint.lengths import Lengths
from workers.models.location import ModelLocation
from workers.training.hyperparameters import Hyperparameters
from workers.training.run import MICRO_BATCH_TOKENS

CONTEXT_BYTES = 2**30
"""Of a GPU, for each process: the driver's context and the libraries' own workspace. Chosen, not measured."""
RESERVED_SHARE = 0.08
"""Of a GPU's memory, against fragmentation and what the estimate misses. Chosen, not measured."""
MOST_TRIALS_PER_GPU = 8
"""More processes than these on one GPU have nothing left to overlap; projected, not measured."""

_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def device_memory_bytes(device: torch.device) -> int:
    """Return a device's memory: of a GPU all of it, of a CPU the machine's or its container's."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        return min(machine, int(_CGROUP_LIMIT.read_text(encoding="ascii")))
    except (OSError, ValueError):  # there is no container, or it has no limit
        return machine


def usable_bytes(gpu_memory_bytes: int, processes: int = 1) -> int:
    """Return what one of several processes on a GPU can allocate."""
    return round(gpu_memory_bytes * (1 - RESERVED_SHARE) / processes) - CONTEXT_BYTES


def micro_batch_tokens(
    hyper: Hyperparameters,
    location: ModelLocation,
    dtype: str,
    lengths: Lengths,
    gpu_memory_bytes: int | None,
    *,
    processes: int = 1,
) -> int:
    """Choose how many tokens go through the model at once.

    The usual number where it fits, else half of it, and so on down to one example: it differs only between
    devices of which one is too small, and a trial's numbers are the same on all the others.

    Args:
        hyper: The config; it must be valid on the model.
        location: The base model's files, of which config.json is read.
        dtype: Compute type: ``float32`` or ``bfloat16``.
        lengths: Of the task's examples.
        gpu_memory_bytes: Of the GPU; None on a CPU, where the usual number is always taken.
        processes: Trials that share the GPU, each with a base of its own.

    Returns:
        Padded tokens of a micro-batch.
    """
    tokens = MICRO_BATCH_TOKENS
    if gpu_memory_bytes is None:
        return tokens
    room = usable_bytes(gpu_memory_bytes, processes)
    while tokens > lengths.example_tokens:
        footprint = estimate(hyper, location, dtype, lengths, micro_batch_tokens=tokens, on_gpu=True)
        if footprint.total_bytes <= room:
            break
        tokens //= 2
    return tokens


def trials_per_gpu(footprints: Iterable[Footprint], gpu_memory_bytes: int) -> int:
    """Return how many trials can share a GPU, whichever of a sweep's they are.

    Args:
        footprints: Of all the sweep's trials.
        gpu_memory_bytes: Of the GPU.

    Returns:
        At least 1: a trial for which even that is too many gets smaller micro-batches, or is refused.
    """
    largest = max(footprint.total_bytes for footprint in footprints)
    fitting = int(gpu_memory_bytes * (1 - RESERVED_SHARE) // (largest + CONTEXT_BYTES))
    return min(max(1, fitting), MOST_TRIALS_PER_GPU)
