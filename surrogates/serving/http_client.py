"""Asking a surrogate by HTTP: the same question, plan and errors as ``SurrogateClient``, without Ray."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import requests

from orchestrator.contracts import Config, InputError, Scalar
from surrogates.plan import Plan
from surrogates.serving.questions import KINDS, PLAN, Answer, SurrogateUnavailableError, decode, question


class HttpSurrogateClient:
    """A caller of ``foretune serve --http``.

    Args:
        url: As the server told it, such as ``http://127.0.0.1:8742``.
        token: As the server told it.
        timeout_s: Longest wait for an answer.
    """

    def __init__(self, url: str, token: str, *, timeout_s: float = 300.0) -> None:
        self._url, self._timeout_s = url.rstrip("/"), timeout_s
        self._session = requests.Session()
        # A token of this caller's netrc must not take the place of the one that was given.
        self._session.trust_env = False
        self._session.headers["Authorization"] = f"Bearer {token}"

    def recommend(
        self,
        features: Mapping[str, float],
        budget_s: float,
        *,
        candidates: Sequence[Config] | None = None,
        k: int | None = None,
        task_id: str | None = None,
        base_fingerprint: str | None = None,
        fixed: Mapping[str, Scalar] | None = None,
        excluded: Mapping[str, Sequence[Scalar]] | None = None,
    ) -> Plan:
        """Ask for a plan; the arguments are those of ``questions.question``.

        Args:
            features: The task's meta-features.
            budget_s: Seconds, above 0.
            candidates: Configs to choose from; None: the surrogate's own.
            k: At most so many choices.
            task_id: The task's id, to leave its own results out.
            base_fingerprint: The base model asked for.
            fixed: Values that every choice must have.
            excluded: Values, by name, that no choice may have.

        Returns:
            The plan.

        Raises:
            InputError: The question can't be answered, or the token is wrong.
            NothingLearnedError: There is nothing to answer from.
            SurrogateUnavailableError: The server did not answer.
        """
        asked = question(
            features,
            budget_s,
            candidates=candidates,
            k=k,
            task_id=task_id,
            base_fingerprint=base_fingerprint,
            fixed=fixed,
            excluded=excluded,
        )
        return self.ask(asked).plan

    def ask(self, asked: Mapping[str, Any]) -> Answer:
        """Put a question that ``questions.question`` put together; raises as ``recommend``."""
        known = {name: value for name, value in asked["features"].items() if math.isfinite(value)}
        return decode(PLAN, self._call("POST", "/v1/recommend", {**asked, "features": known}))

    def info(self) -> dict[str, Any]:
        """Return what the surrogate has learned from, and its version."""
        info: dict[str, Any] = json.loads(self._call("GET", "/v1/info", None))
        return info

    def close(self) -> None:
        """Close its connections."""
        self._session.close()

    def _call(self, method: str, path: str, content: Mapping[str, Any] | None) -> bytes:
        try:
            response = self._session.request(method, self._url + path, json=content, timeout=self._timeout_s)
        except requests.RequestException as err:
            raise SurrogateUnavailableError(self._url, str(err)) from err
        if response.ok:
            return response.content
        try:
            problem = response.json()
        except ValueError as err:
            raise SurrogateUnavailableError(
                self._url, f"HTTP {response.status_code}: {response.text[:200]}"
            ) from err
        kind, fields = problem.get("kind"), problem.get("fields")
        if kind in KINDS:
            raise KINDS[kind](*fields)
        if response.status_code >= 500:
            raise SurrogateUnavailableError(self._url, str(problem.get("detail")))
        raise InputError(str(problem.get("detail")))
