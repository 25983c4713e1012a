"""The Ray actor around a surrogate service, all of it: named, detached, found by its root.

Whoever serves a root creates it; it outlives that driver and dies with the cluster, or when it is told to.
Ray restarts it wherever it died, and it learns anew from the root; Ray repeats no call.
"""

from pathlib import Path

import ray

from orchestrator.contracts import digest
from surrogates.serving.service import SurrogateService

NAMESPACE = "foretune"
"""Ray namespace of the actor's name."""
MOST_CALLS = 16
"""Calls at a time; a refresh takes one of them, so that questions are answered meanwhile."""

SurrogateActor = ray.remote(
    num_cpus=0,
    max_restarts=-1,
    max_task_retries=0,
    runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}},
)(SurrogateService)
"""``recommend``, ``info`` and ``refresh`` as remote methods; give it ``max_concurrency=MOST_CALLS``."""


def actor_name(root: Path | str) -> str:
    """Return the name under which the surrogate of a root is found."""
    return f"surrogate-{digest(str(Path(root).resolve()))}"
