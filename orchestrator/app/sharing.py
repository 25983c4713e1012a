"""What a sweep's trials will need of its devices, and how many of them share a GPU."""

import math
from typing import TYPE_CHECKING

from cluster.gpus import smallest_gpu_bytes
from cluster.nodes import WorkerSize
from orchestrator.app.plan import SweepPlan
from orchestrator.app.spec import SweepSpec

if TYPE_CHECKING:
    from workers.footprint.survey import Survey  # imports torch

_SHARES = 10_000
"""Ray counts resources in parts of so many."""


def survey_sweep(spec: SweepSpec, plan: SweepPlan, *, gpus: float, gpu_memory_bytes: int | None) -> "Survey":
    """Foretell what a sweep's trials will need; encodes a few examples of each task, loads no weights.

    Args:
        spec: The sweep's, no rehearsal.
        plan: Its trials.
        gpus: A worker's, or its share of one; 0: workers use CPUs.
        gpu_memory_bytes: Of one GPU; None where it is not known.

    Returns:
        The survey.
    """
    from workers.footprint.lengths import foretold_lengths
    from workers.footprint.survey import survey
    from workers.models.base import load_tokenizer
    from workers.models.facts import ModelFacts

    settings = spec.training_settings()
    tokenizer = load_tokenizer(plan.base)
    is_paired = ModelFacts.of(plan.base).is_encoder_decoder
    lengths = {
        item.task.task_id: foretold_lengths(tokenizer, item.task, settings, is_encoder_decoder=is_paired)
        for item in plan.tasks
    }
    return survey(
        ((trial.config, lengths[trial.task_id]) for trial in plan.trials),
        plan.base,
        settings,
        device_type="cuda" if gpus > 0 else "cpu",
        memory_bytes=gpu_memory_bytes,
        processes=WorkerSize(cpus=0, gpus=gpus).per_gpu,
    )


def gpus_of_a_worker(spec: SweepSpec, plan: SweepPlan) -> float:
    """Return what of a GPU a worker takes; where the spec says ``auto``, the connected cluster is asked.

    Args:
        spec: The sweep's.
        plan: Its trials.

    Returns:
        A number of GPUs, or a share of one that the largest of the sweep's trials fits into; under ``auto`` 0
        where the cluster has no GPU. What a cluster can't tell is refused by ``smallest_gpu_bytes``.
    """
    if spec.workers.gpus != "auto":
        return spec.workers.gpus
    memory = None if spec.is_rehearsal else smallest_gpu_bytes()
    return 0.0 if memory is None else shared_gpu(spec, plan, memory)


def shared_gpu(spec: SweepSpec, plan: SweepPlan, gpu_memory_bytes: int) -> float:
    """Return the share of a GPU of this memory that a sweep's largest trial takes; 1 where none can run."""
    found = survey_sweep(spec, plan, gpus=1.0, gpu_memory_bytes=gpu_memory_bytes)
    return math.floor(_SHARES / (found.trials_per_gpu or 1)) / _SHARES
