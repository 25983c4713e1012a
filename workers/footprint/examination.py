"""Whether a config can run at all, on a model and a device: asked before a base model is loaded."""

from workers.footprint.estimate import estimate, gibibytes
from workers.footprint.lengths import Lengths
from workers.methods import support
from workers.models.facts import ModelFacts
from workers.models.location import ModelLocation
from workers.training.hyperparameters import Hyperparameters

SHORTEST = Lengths(prompt_tokens=1, answer_tokens=1, example_tokens=2, held_out=1)
"""A task with next to nothing in it, for what is needed whatever the task."""


def examine(
    hyper: Hyperparameters,
    location: ModelLocation,
    dtype: str,
    *,
    device_type: str,
    memory_bytes: int | None = None,
    lengths: Lengths = SHORTEST,
) -> list[str]:
    """Say why a config can't run.

    Args:
        hyper: The config.
        location: The base model's files, of which config.json is read.
        dtype: Compute type: ``float32`` or ``bfloat16``.
        device_type: ``cuda`` or ``cpu``.
        memory_bytes: Of the device; None where it is not known, and memory is no reason.
        lengths: Of the task's examples; left out, only what no task can do without is counted.

    Returns:
        One sentence a reason; none where nothing is known against it. Memory is a reason only where all of
        the device's would not do for micro-batches of one example.
    """
    problems = support.refusals(hyper, ModelFacts.of(location))
    if problems or memory_bytes is None:
        return problems
    refusal = memory_refusal(
        hyper, location, dtype, lengths, memory_bytes=memory_bytes, on_gpu=device_type == "cuda"
    )
    return [refusal] if refusal else []


def memory_refusal(
    hyper: Hyperparameters,
    location: ModelLocation,
    dtype: str,
    lengths: Lengths,
    *,
    memory_bytes: int,
    on_gpu: bool,
) -> str | None:
    """Say why a device's memory is too small for a valid config, or return None; see ``examine``."""
    least = estimate(hyper, location, dtype, lengths, micro_batch_tokens=1, on_gpu=on_gpu)
    if least.total_bytes <= memory_bytes:
        return None
    return (
        f"needs about {gibibytes(least.total_bytes)} of memory even with micro-batches of one example, and "
        f"the device has {gibibytes(memory_bytes)} ({least}); take a larger device, a coarser quant, or a "
        "method that trains less"
    )
