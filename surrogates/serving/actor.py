"""The Ray actor around a surrogate service, all of it: named, detached, found by its root.

Whoever serves a root creates it; it outlives that driver and dies with the cluster, or when it is told to.
Ray restarts it wherever it died, and it goes on from what it had saved beside the root; Ray repeats no call.
One thread plans: more of them would only fight for Python's lock. Questions that take a fit have a thread of
their own, and so have those about the service itself, so that neither waits for the other.
"""

import threading
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ray

from orchestrator.contracts import Config, digest
from surrogates.serving.service import Following, SurrogateService

NAMESPACE = "foretune"
"""Ray namespace of the actor's name."""


class _FollowingService:
    """A service, and the thread that lets it follow its root."""

    def __init__(self, root: str, following: Mapping[str, float] | None = None) -> None:
        policy = Following(**(following or asdict(Following())))
        self._service = SurrogateService(root, following=policy)
        self._every_s = policy.every_s
        threading.Thread(target=self._follow, name="follow", daemon=True).start()

    @ray.method(concurrency_group="planning")
    def recommend(self, asked: Mapping[str, Any]) -> tuple[str, bytes]:
        return self._service.recommend(asked)

    @ray.method(concurrency_group="leaving_out")
    def recommend_leaving_out(self, asked: Mapping[str, Any]) -> tuple[str, bytes]:
        return self._service.recommend_leaving_out(asked)

    def candidates(self) -> list[Config]:
        return self._service.candidates()

    def info(self) -> dict[str, Any]:
        return self._service.info()

    @ray.method(concurrency_group="learning")
    def refresh(self) -> dict[str, Any]:
        return self._service.refresh()

    def _follow(self) -> None:
        pause = threading.Event()
        while True:
            self._service.follow()
            pause.wait(self._every_s)


_OPTIONS: dict[str, Any] = {
    "num_cpus": 0,
    "max_restarts": -1,
    "max_task_retries": 0,
    "concurrency_groups": {"planning": 1, "leaving_out": 1, "learning": 1},
    "runtime_env": {"env_vars": {"OMP_NUM_THREADS": "1"}},
}
SurrogateActor = ray.remote(**_OPTIONS)(_FollowingService)
"""``SurrogateService`` by remote methods; made with a root and, if need be, the fields of ``Following``."""


def actor_name(root: Path | str) -> str:
    """Return the name under which the surrogate of a root is found."""
    return f"surrogate-{digest(str(Path(root).resolve()))}"
