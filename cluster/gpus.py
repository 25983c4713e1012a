"""The GPUs of a cluster: how much memory they have, which Ray itself does not know."""

from collections.abc import Mapping

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.nodes import live_nodes
from orchestrator.contracts import InputError

ANSWER_S = 120.0
"""Seconds within which a node with a free GPU has told about it; loading torch counts."""
_A_LITTLE = 0.01
"""Of a GPU: enough for Ray to show it to a task."""


@ray.remote(num_cpus=0, num_gpus=_A_LITTLE, max_retries=0)
def _total_memory_bytes() -> int | None:
    """Return the memory of the GPU that the task was given; None where torch finds none."""
    import torch

    if not torch.cuda.is_available():
        return None
    return int(torch.cuda.get_device_properties(0).total_memory)


def smallest_gpu_bytes() -> int | None:
    """Return the memory of the smallest of the cluster's GPUs, asking one on each node that has some.

    Returns:
        Bytes; None where no node has a GPU.

    Raises:
        InputError: A node does not tell in time, or torch finds no GPU where Ray counts one.
    """
    holding = [node_id for node_id, held in live_nodes().items() if held.get("GPU", 0.0) > 0]
    asked = {_asked(node_id): node_id for node_id in holding}
    told, silent = ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER_S) if asked else ([], [])
    if silent:
        raise InputError(
            f"the GPUs of {len(silent)} nodes have not told their memory within {ANSWER_S:g} s; they may all "
            "be taken: give `workers.gpus` a number instead of auto"
        )
    found = {asked[call]: ray.get(call) for call in told}
    return _smallest(found)


def _asked(node_id: str) -> ray.ObjectRef:  # type: ignore[type-arg]
    on_node = NodeAffinitySchedulingStrategy(node_id, soft=False)
    return _total_memory_bytes.options(scheduling_strategy=on_node).remote()


def _smallest(found: Mapping[str, int | None]) -> int | None:
    blind = sorted(node_id for node_id, size in found.items() if size is None)
    if blind:
        raise InputError(
            f"Ray counts a GPU on node {blind[0]}, but torch finds none there: its build may be for CPUs, or "
            "the driver too old; mend that, or give `workers.gpus` a number"
        )
    return min((size for size in found.values() if size is not None), default=None)
