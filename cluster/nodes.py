"""The nodes of a cluster: which are alive, and how many workers of one size they hold."""

import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import ray

from orchestrator.contracts import InputError

_ROUND_OFF = 1e-9
_PROBE_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSize:
    """What one worker takes of a node."""

    cpus: float
    """Logical CPUs."""
    gpus: float
    """GPUs, or a share of one."""

    @property
    def per_gpu(self) -> int:
        """How many workers have a GPU together."""
        return int(1 / self.gpus + _ROUND_OFF) if 0 < self.gpus < 1 else 1


def slots(size: WorkerSize, nodes: Iterable[Mapping[str, float]]) -> int:
    """Count the workers that fit.

    Args:
        size: Of one worker.
        nodes: Resources of each node that is alive, by Ray's names (``CPU``, ``GPU``).

    Returns:
        The count; a worker never spans two nodes, nor a share of a GPU two GPUs.
    """
    return sum(_on_node(size, node.get("CPU", 0.0), node.get("GPU", 0.0)) for node in nodes)


def _on_node(size: WorkerSize, cpus: float, gpus: float) -> int:
    fits = []
    if size.cpus > 0:
        fits.append(int(cpus / size.cpus + _ROUND_OFF))
    if 0 < size.gpus < 1:
        fits.append(int(gpus + _ROUND_OFF) * size.per_gpu)
    elif size.gpus >= 1:
        fits.append(int(gpus / size.gpus + _ROUND_OFF))
    return min(fits, default=0)


def live_nodes() -> dict[str, Mapping[str, float]]:
    """Return the resources of every node that Ray holds to be alive, by node id."""
    return {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}


def answers(address: str) -> bool:
    """Return whether something listens at a ``HOST:PORT``, such as a cluster's head."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_PROBE_S).close()
    except OSError:
        return False
    return True


def is_lost(node_id: str) -> bool:
    """Return whether a node is gone, asking its raylet: Ray itself declares it dead up to 15 s later.

    Args:
        node_id: As Ray names it.

    Returns:
        True where Ray knows no such living node, or nothing answers at its raylet's port.
    """
    node = next((node for node in ray.nodes() if node["NodeID"] == node_id and node["Alive"]), None)
    if node is None:
        return True
    return not answers(f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}")


def no_slot_error(size: WorkerSize, nodes: Iterable[Mapping[str, float]]) -> InputError:
    """Return the error for a cluster on which not one worker fits; it says what there is."""
    held = list(nodes)
    largest = ", ".join(
        f"{node.get('CPU', 0.0):g} CPUs and {node.get('GPU', 0.0):g} GPUs" for node in held[:4]
    )
    more = ", ..." if len(held) > 4 else ""
    return InputError(
        f"a worker needs {size.cpus:g} CPUs and {size.gpus:g} GPUs, and no node has that: {len(held)} "
        f"node{'s' if len(held) != 1 else ''} ({largest}{more}); ask for less in the sweep's `workers`, or "
        "connect to a larger cluster with --address"
    )
