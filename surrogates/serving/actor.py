"""The Ray actors around a surrogate service, all of them: named, detached, found by their root.

Whoever serves a root creates the first; it outlives that driver and dies with the cluster, or when it is told
to. It alone learns and follows the root, and it creates the planners beside it, which answer from the states
that it saved. Ray restarts each of them wherever it died, and it goes on from what stands beside the root;
Ray repeats no call. Callers of the same node are answered on a socket, without Ray (``near``). In each one
thread plans at a time: more of them would only fight for Python's lock. In the first, questions that take a
fit have a thread of their own, and so have those about the service itself, so that neither waits for the
other.
"""

import gc
import logging
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.contracts import Config, digest
from orchestrator.metadataset.layout import RootLayout
from surrogates.serving.answering import Answering
from surrogates.serving.near import NearServer, socket_path
from surrogates.serving.service import Following, SurrogateService

NAMESPACE = "foretune"
"""Ray namespace of the actors' names."""
MOST_PLANNERS = 4
"""Processes that plan for a root, the first one too."""
_START_S = 60.0
"""Longest wait for new planners; they answer later where they take longer."""
_TELL_S = 30.0
"""Longest wait until planners have taken a new state; one that is restarting takes the newest anyway."""

logger = logging.getLogger(__name__)


class _Planner:
    """Plans from the states that the first actor saved."""

    def __init__(self, root: str) -> None:
        self._answering = Answering(RootLayout(Path(root)).surrogate_dir, settled=_spare_the_collector)
        self._answering.take_newest()
        self._planning = threading.Lock()
        _serve_near(self.recommend)

    @ray.method(concurrency_group="planning")
    def recommend(self, asked: Mapping[str, Any], at_least: int = 0) -> tuple[str, bytes]:
        with self._planning:
            return self._answering.recommend(asked, at_least=at_least)

    def take_newest(self) -> int:
        return self._answering.take_newest()

    def pid(self) -> int:
        return os.getpid()


class _FollowingService:
    """A service, the thread that lets it follow its root, and the planners beside it."""

    def __init__(self, root: str, following: Mapping[str, float] | None = None) -> None:
        policy = Following(**(following or asdict(Following())))
        self._root = root
        self._service = SurrogateService(
            root, following=policy, announced=self._tell_planners, settled=_spare_the_collector
        )
        self._every_s = policy.every_s
        threading.Thread(target=self._follow, name="follow", daemon=True).start()
        self._planning = threading.Lock()
        _serve_near(self.recommend)

    @ray.method(concurrency_group="planning")
    def recommend(self, asked: Mapping[str, Any], at_least: int = 0) -> tuple[str, bytes]:
        with self._planning:
            return self._service.recommend(asked, at_least)

    @ray.method(concurrency_group="leaving_out")
    def recommend_leaving_out(self, asked: Mapping[str, Any], at_least: int = 0) -> tuple[str, bytes]:
        return self._service.recommend_leaving_out(asked, at_least)

    def candidates(self) -> list[Config]:
        return self._service.candidates()

    def info(self) -> dict[str, Any]:
        return self._service.info() | {"planners": 1 + len(found_planners(self._root))}

    @ray.method(concurrency_group="learning")
    def refresh(self) -> dict[str, Any]:
        self._service.refresh()
        return self.info()

    @ray.method(concurrency_group="learning")
    def start_planners(self, planners: int | None) -> None:
        """Start what is missing of so many planners, this one counted; None: one a core of this node."""
        wanted = min(len(os.sched_getaffinity(0)) if planners is None else planners, MOST_PLANNERS)
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        made = [
            PlannerActor.options(
                name=planner_name(self._root, place),
                namespace=NAMESPACE,
                lifetime="detached",
                get_if_exists=True,
                scheduling_strategy=here,
            ).remote(self._root)
            for place in range(1, wanted)
        ]
        _let_take_newest(made, _START_S)

    def _tell_planners(self) -> None:
        _let_take_newest(list(found_planners(self._root).values()), _TELL_S)

    def _follow(self) -> None:
        pause = threading.Event()
        while True:
            self._service.follow()
            pause.wait(self._every_s)


_OPTIONS: dict[str, Any] = {
    "num_cpus": 0,
    "max_restarts": -1,
    "max_task_retries": 0,
    "enable_task_events": False,  # one a question, for Ray's dashboard: a twentieth of what a call takes
    "runtime_env": {"env_vars": {"OMP_NUM_THREADS": "1"}},
}
_LEARNING_TOO = _OPTIONS | {"concurrency_groups": {"planning": 1, "leaving_out": 1, "learning": 1}}
_PLANNING_ONLY = _OPTIONS | {"concurrency_groups": {"planning": 1}}
SurrogateActor = ray.remote(**_LEARNING_TOO)(_FollowingService)
"""``SurrogateService`` by remote methods; made with a root and, if need be, the fields of ``Following``."""
PlannerActor = ray.remote(**_PLANNING_ONLY)(_Planner)
"""``Answering`` by remote methods; made with a root."""


def actor_name(root: Path | str) -> str:
    """Return the name under which the surrogate of a root is found."""
    return f"surrogate-{digest(str(Path(root).resolve()))}"


def planner_name(root: Path | str, place: int) -> str:
    """Return the name of a planner beside a root's surrogate; places count from 1."""
    return f"{actor_name(root)}-planner-{place}"


def near_path(name: str) -> Path:
    """Return where the actor of a name answers callers of this process's node, if it runs on that node."""
    return socket_path(f"{ray.get_runtime_context().get_node_id()} {name}")


def found_planners(root: Path | str) -> dict[str, Any]:
    """Return the handles, by name, of the planners beside a root's surrogate."""
    found = {}
    for place in range(1, MOST_PLANNERS):
        name = planner_name(root, place)
        with suppress(ValueError):
            found[name] = ray.get_actor(name, namespace=NAMESPACE)
    return found


def _serve_near(answer: Callable[[Mapping[str, Any], int], tuple[str, bytes]]) -> None:
    """Answer callers of this node without Ray too."""
    name = ray.get_runtime_context().get_actor_name()
    if name is not None:
        NearServer.start(near_path(name), answer)


def _let_take_newest(planners: list[Any], timeout_s: float) -> None:
    """Wait until planners have taken the newest state; one that is gone takes it when it is restarted."""
    if not planners:
        return
    told = [planner.take_newest.remote() for planner in planners]
    _, late = ray.wait(told, num_returns=len(told), timeout=timeout_s)
    if late:
        logger.warning("planners late count=%d waited_s=%g", len(late), timeout_s)


def _spare_the_collector() -> None:
    """Leave a state that was just taken into service out of garbage collections, and let go of the last."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
