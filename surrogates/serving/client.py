"""Asking the surrogate actor: plain values over the wire, plans and our own errors on this side."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError

from orchestrator.contracts import Config, InputError, OrchestrationError
from surrogates.plan import Plan
from surrogates.serving.actor import MOST_CALLS, NAMESPACE, SurrogateActor, actor_name
from surrogates.serving.service import raise_error

_TIMEOUT_S = 300.0


class SurrogateUnavailableError(OrchestrationError):
    """The surrogate actor did not answer: it is restarting, or gone; ask again, or serve the root again."""

    def __init__(self, root: str, reason: str) -> None:
        super().__init__(root, reason)
        self.root, self.reason = root, reason

    def __str__(self) -> str:
        return (
            f"the surrogate of {self.root} did not answer ({self.reason}); ask again in some seconds, "
            "or start it anew with `foretune serve`"
        )


class SurrogateClient:
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
    def serve(cls, root: Path | str) -> "SurrogateClient":
        """Start a root's surrogate, or refresh the one that runs.

        Args:
            root: The root's folder, as it is reached from the actor's node too.

        Returns:
            Its client; the surrogate has learned and can be asked.

        Raises:
            InputError: The folder is no sweep's root.
            NothingLearnedError: No trial has finished there yet; a surrogate that was started for it is
                stopped.
        """
        name, resolved = actor_name(root), str(Path(root).resolve())
        try:
            client = cls(root, ray.get_actor(name, namespace=NAMESPACE))
        except ValueError:
            options = SurrogateActor.options(
                name=name,
                namespace=NAMESPACE,
                lifetime="detached",
                get_if_exists=True,
                max_concurrency=MOST_CALLS,
            )
            client = cls(root, options.remote(resolved))
            info = client.info()
        else:
            info = client.refresh()
        if info["version"] == 0:
            client.stop()
            raise_error(info["error"])
        return client

    def recommend(
        self,
        features: Mapping[str, float],
        budget_s: float,
        *,
        candidates: Sequence[Config] | None = None,
        k: int | None = None,
        task_id: str | None = None,
        base_fingerprint: str | None = None,
    ) -> Plan:
        """Ask for a plan; the arguments are those of ``Recommender.plan``.

        Args:
            features: The task's meta-features.
            budget_s: Seconds, above 0.
            candidates: Configs to choose from; None: the surrogate's own.
            k: At most so many choices.
            task_id: The task's id, to leave its own results out.
            base_fingerprint: The base model asked for.

        Returns:
            The plan.

        Raises:
            InputError: The question can't be answered.
            NothingLearnedError: There is nothing to answer from.
            SurrogateUnavailableError: The actor did not answer.
        """
        request = {
            "features": dict(features),
            "budget_s": budget_s,
            "candidates": None if candidates is None else [dict(config) for config in candidates],
            "k": k,
            "task_id": task_id,
            "base_fingerprint": base_fingerprint,
        }
        answer = self._get(self._actor.recommend.remote(request))
        if "error" in answer:
            raise_error(answer["error"])
        return Plan.from_dict(answer["plan"])

    def info(self) -> dict[str, Any]:
        """Return what the surrogate has learned from, and its version."""
        return self._get(self._actor.info.remote())

    def refresh(self) -> dict[str, Any]:
        """Let the surrogate learn anew from its root; returns when it has, with its ``info``."""
        return self._get(self._actor.refresh.remote())

    def stop(self) -> None:
        """End the actor for good."""
        ray.kill(self._actor, no_restart=True)

    def _get(self, reference: Any) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = ray.get(reference, timeout=self._timeout_s)
        except GetTimeoutError as err:
            raise SurrogateUnavailableError(self._root, f"no answer within {self._timeout_s:g} s") from err
        except RayActorError as err:
            raise SurrogateUnavailableError(self._root, str(err).splitlines()[0]) from err
        return answer
