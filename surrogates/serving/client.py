"""Asking the surrogate actor: plain values over the wire, plans and our own errors on this side."""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError

from orchestrator.contracts import Config, InputError
from surrogates.serving.actor import (
    MOST_PLANNERS,
    NAMESPACE,
    SurrogateActor,
    actor_name,
    found_planners,
    near_path,
)
from surrogates.serving.answering import ELSEWHERE
from surrogates.serving.asking import Caller
from surrogates.serving.near import NearCaller, Reply
from surrogates.serving.questions import PLAN, Answer, SurrogateUnavailableError, decode, version_of
from surrogates.serving.service import Following, raise_error
from surrogates.serving.spread import Spread

_TIMEOUT_S = 300.0
_MOST_RELAYED = 32
"""Questions that one client relays at a time; more wait."""


class SurrogateClient(Caller):
    """A surrogate actor's caller. Build it with ``connect`` or ``serve``, on an open connection to Ray.

    Its questions take turns among the actor and the planners beside it; one that is gone is passed over, and
    the question put to another. It never gets an answer from an older state than it has had one from.

    Args:
        root: The root's folder.
        actor: The actor's handle.
        planners: Handles, by name, of the planners beside it.
        timeout_s: Longest wait for an answer.
    """

    def __init__(
        self,
        root: Path | str,
        actor: Any,
        planners: Mapping[str, Any] = MappingProxyType({}),
        *,
        timeout_s: float = _TIMEOUT_S,
    ) -> None:
        self._root, self._actor, self._timeout_s = str(root), actor, timeout_s
        self._planning = (actor, *planners.values())
        self._near = [
            NearCaller(near_path(name), timeout_s=timeout_s) for name in (actor_name(root), *planners)
        ]
        self._relaying = ThreadPoolExecutor(_MOST_RELAYED, thread_name_prefix="relay")
        self._spread = Spread(len(self._planning))
        self._version = 0

    @classmethod
    def connect(cls, root: Path | str) -> "SurrogateClient":
        """Find the surrogate that serves a root.

        Args:
            root: The root's folder.

        Returns:
            Its client.

        Raises:
            InputError: None is running on this cluster.
        """
        try:
            actor = ray.get_actor(actor_name(root), namespace=NAMESPACE)
        except ValueError as err:
            raise InputError(
                f"no surrogate serves {root} on this cluster; start it with `foretune serve {root}`"
            ) from err
        return cls(root, actor, found_planners(root))

    @classmethod
    def serve(
        cls, root: Path | str, *, following: Following | None = None, planners: int | None = None
    ) -> "SurrogateClient":
        """Start a root's surrogate, or refresh the one that runs.

        Args:
            root: A sweep's root or a folder of tables, as it is reached from the actor's node too.
            following: When it learns from a growing root again; that of one that runs is left as it is.
            planners: Processes that plan, at most four: what is missing of them is started, none is stopped;
                None: one a core of the actor's node.

        Returns:
            Its client; the surrogate has learned and can be asked.

        Raises:
            InputError: The folder is neither, or so many planners can't be.
            NothingLearnedError: No trial has finished there yet; a surrogate that was started for it is
                stopped.
        """
        if planners is not None and not 1 <= planners <= MOST_PLANNERS:
            raise InputError(f"planners must be in [1, {MOST_PLANNERS}], got {planners}")
        name, resolved = actor_name(root), str(Path(root).resolve())
        try:
            client = cls(root, ray.get_actor(name, namespace=NAMESPACE))
        except ValueError:
            options = SurrogateActor.options(
                name=name, namespace=NAMESPACE, lifetime="detached", get_if_exists=True
            )
            client = cls(root, options.remote(resolved, asdict(following or Following())))
            info = client.info()
        else:
            info = client.refresh()
        if info["version"] == 0:
            client.stop()
            raise_error(info["error"])
        client._get(client._actor.start_planners.remote(planners))
        return cls.connect(root)

    def ask(self, asked: Mapping[str, Any]) -> Answer:
        """Put a question that ``questions.question`` put together; raises as ``recommend``."""
        answer = decode(*self._reply(asked))
        self._version = max(self._version, answer.version)
        return answer

    async def relay(self, asked: Mapping[str, Any]) -> tuple[str, bytes]:
        """Put a question without waiting in this thread; returns what ``questions.decode`` takes."""
        kind, body = await asyncio.get_running_loop().run_in_executor(self._relaying, self._reply, asked)
        if kind == PLAN:
            self._version = max(self._version, version_of(body))
        return kind, body

    async def relay_info(self, *, timeout_s: float) -> dict[str, Any]:
        """Return ``info`` without waiting in this thread."""
        try:
            info: dict[str, Any] = await asyncio.wait_for(self._actor.info.remote(), timeout_s)
        except (TimeoutError, RayActorError) as err:
            raise self._unavailable(err, timeout_s) from err
        return info

    def candidates(self) -> list[Config]:
        """Return the configs that are chosen from where a question names none."""
        configs: list[Config] = self._get(self._actor.candidates.remote())
        return configs

    def info(self) -> dict[str, Any]:
        """Return what the surrogate has learned from, and its version."""
        return self._heard(self._get(self._actor.info.remote()))

    def refresh(self) -> dict[str, Any]:
        """Let the surrogate learn anew from its root; returns when it has, with its ``info``."""
        return self._heard(self._get(self._actor.refresh.remote()))

    def stop(self) -> None:
        """End the actor and its planners for good; what it learned stays beside the root."""
        for actor in (self._actor, *found_planners(self._root).values()):
            ray.kill(actor, no_restart=True)

    def _turn(self, asked: Mapping[str, Any]) -> list[int]:
        """Return whom to ask, and whom if that one is gone; what was left out, the first one remembers."""
        return [0] if asked.get("task_id") is not None else self._spread.turn()

    def _reply(self, asked: Mapping[str, Any]) -> Reply:
        """Return the answer of whose turn it is, or of the next one if that one is gone."""
        place, *others = self._turn(asked)
        try:
            kind, body = self._reply_of(place, asked, has_others=bool(others))
        except SurrogateUnavailableError as err:
            kind, body = self._reply_of(self._another(place, others, err), asked, has_others=False)
        if kind == ELSEWHERE:
            kind, body = self._get(self._actor.recommend_leaving_out.remote(asked, self._version))
        return kind, body

    def _reply_of(self, place: int, asked: Mapping[str, Any], *, has_others: bool) -> Reply:
        """Return the answer of somebody, the short way if there is one; Ray waits for those who restart."""
        try:
            reply = self._near[place].ask(asked, self._version)
        except TimeoutError as err:
            raise self._unavailable(err, self._timeout_s) from err
        except ConnectionError as err:
            if has_others:
                raise self._unavailable(err, self._timeout_s) from err
            reply = None
        return reply or self._get(self._planning[place].recommend.remote(asked, self._version))

    def _another(self, place: int, others: Sequence[int], err: SurrogateUnavailableError) -> int:
        """Return whom to ask instead of one that is gone; who is late only is waited for no second time."""
        if not others or not isinstance(err.__cause__, RayActorError | ConnectionError):
            raise err
        self._spread.set_aside(place)
        return others[0]

    def _heard(self, info: dict[str, Any]) -> dict[str, Any]:
        self._version = max(self._version, info["version"])
        return info

    def _get(self, reference: Any) -> Any:
        try:
            return ray.get(reference, timeout=self._timeout_s)
        except (GetTimeoutError, RayActorError) as err:
            raise self._unavailable(err, self._timeout_s) from err

    def _unavailable(self, err: Exception, waited_s: float) -> SurrogateUnavailableError:
        timed_out = isinstance(err, GetTimeoutError | TimeoutError) and not isinstance(err, RayActorError)
        reason = f"no answer within {waited_s:g} s" if timed_out else str(err).splitlines()[0]
        return SurrogateUnavailableError(self._root, reason)
