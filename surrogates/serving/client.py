"""Asking the surrogate actor: plain values over the wire, plans and our own errors on this side."""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError

from orchestrator.contracts import Config, InputError
from surrogates.serving.actor import NAMESPACE, SurrogateActor, actor_name
from surrogates.serving.asking import Caller
from surrogates.serving.questions import Answer, SurrogateUnavailableError, decode
from surrogates.serving.service import ELSEWHERE, Following, raise_error

_TIMEOUT_S = 300.0


class SurrogateClient(Caller):
    """A surrogate actor's caller. Build it with ``connect`` or ``serve``, on an open connection to Ray.

    Args:
        root: The root's folder.
        actor: The actor's handle.
        timeout_s: Longest wait for an answer.
    """

    def __init__(self, root: Path | str, actor: Any, *, timeout_s: float = _TIMEOUT_S) -> None:
        self._root, self._actor, self._timeout_s = str(root), actor, timeout_s

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
        return cls(root, actor)

    @classmethod
    def serve(cls, root: Path | str, *, following: Following | None = None) -> "SurrogateClient":
        """Start a root's surrogate, or refresh the one that runs.

        Args:
            root: A sweep's root or a folder of tables, as it is reached from the actor's node too.
            following: When it learns from a growing root again; that of one that runs is left as it is.

        Returns:
            Its client; the surrogate has learned and can be asked.

        Raises:
            InputError: The folder is neither.
            NothingLearnedError: No trial has finished there yet; a surrogate that was started for it is
                stopped.
        """
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
        return client

    def ask(self, asked: Mapping[str, Any]) -> Answer:
        """Put a question that ``questions.question`` put together; raises as ``recommend``."""
        kind, body = self._get(self._actor.recommend.remote(asked))
        if kind == ELSEWHERE:
            kind, body = self._get(self._actor.recommend_leaving_out.remote(asked))
        return decode(kind, body)

    async def relay(self, asked: Mapping[str, Any]) -> tuple[str, bytes]:
        """Put a question without waiting in this thread; returns what ``questions.decode`` takes."""
        kind, body = await self._await(self._actor.recommend.remote(asked))
        if kind == ELSEWHERE:
            kind, body = await self._await(self._actor.recommend_leaving_out.remote(asked))
        return kind, body

    async def relay_info(self, *, timeout_s: float) -> dict[str, Any]:
        """Return ``info`` without waiting in this thread."""
        info: dict[str, Any] = await self._await(self._actor.info.remote(), timeout_s)
        return info

    def candidates(self) -> list[Config]:
        """Return the configs that are chosen from where a question names none."""
        configs: list[Config] = self._get(self._actor.candidates.remote())
        return configs

    def info(self) -> dict[str, Any]:
        """Return what the surrogate has learned from, and its version."""
        info: dict[str, Any] = self._get(self._actor.info.remote())
        return info

    def refresh(self) -> dict[str, Any]:
        """Let the surrogate learn anew from its root; returns when it has, with its ``info``."""
        info: dict[str, Any] = self._get(self._actor.refresh.remote())
        return info

    def stop(self) -> None:
        """End the actor for good; what it learned stays beside the root."""
        ray.kill(self._actor, no_restart=True)

    def _get(self, reference: Any) -> Any:
        try:
            return ray.get(reference, timeout=self._timeout_s)
        except (GetTimeoutError, RayActorError) as err:
            raise self._unavailable(err, self._timeout_s) from err

    async def _await(self, reference: Any, timeout_s: float | None = None) -> Any:
        longest_s = timeout_s or self._timeout_s
        try:
            return await asyncio.wait_for(reference, longest_s)
        except (TimeoutError, RayActorError) as err:
            raise self._unavailable(err, longest_s) from err

    def _unavailable(self, err: Exception, waited_s: float) -> SurrogateUnavailableError:
        timed_out = isinstance(err, GetTimeoutError | TimeoutError) and not isinstance(err, RayActorError)
        reason = f"no answer within {waited_s:g} s" if timed_out else str(err).splitlines()[0]
        return SurrogateUnavailableError(self._root, reason)
