"""What a Ray cluster that is to be used says of itself."""

from collections.abc import Mapping
from typing import Any

from cluster.doctor.finding import Finding, Status

_NAME = "Ray cluster"


def unasked() -> Finding:
    """Return what is said where no cluster was named."""
    return Finding(
        _NAME, Status.NOT_CHECKED, "none named: sweeps run on an embedded one", "name it with --address"
    )


def silent(address: str, why: str) -> Finding:
    """Return what is said of a cluster that gave no answer.

    Args:
        address: As it was given.
        why: How the asking ended.

    Returns:
        A failure.
    """
    advice = (
        "see that its head is alive (`ray status` there), and that no firewall swallows what is sent to it"
    )
    return Finding(_NAME, Status.FAILED, f"{address} does not answer: {why}", advice)


def cluster(address: str, told: Mapping[str, Any]) -> Finding:
    """Judge what a cluster told ``cluster.doctor.probe``.

    Args:
        address: As it was given.
        told: The probe's answer.

    Returns:
        A failure where it can't be used, a warning where nodes of it are gone.
    """
    if "trouble" in told:
        found, _, advice = str(told["trouble"]).partition("; ")
        return Finding(_NAME, Status.FAILED, found, advice or None)
    if "nodes" not in told:
        return Finding(_NAME, Status.OK, f"the job server at {address} takes jobs; it runs Ray {told['ray']}")
    alive = [node for node in told["nodes"] if node["is_alive"]]
    cpus, gpus = (sum(node[kind] for node in alive) for kind in ("CPU", "GPU"))
    text = (
        f"{address}: {len(alive)} node{'s' if len(alive) != 1 else ''} with {cpus:g} CPUs and {gpus:g} GPUs; "
        f"Ray {told['ray']} and Python {told['python']} as here"
    )
    if not cpus:
        return Finding(_NAME, Status.FAILED, text, "add nodes: no worker fits a cluster without CPUs")
    if gone := len(told["nodes"]) - len(alive):
        return Finding(
            _NAME, Status.WARNING, f"{text}; {gone} left it", "see why, where they should not have"
        )
    return Finding(_NAME, Status.OK, text)
