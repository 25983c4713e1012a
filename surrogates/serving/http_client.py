"""Asking a surrogate by HTTP: the same question, plan and errors as ``SurrogateClient``, without Ray."""

import json
import math
from collections.abc import Mapping
from typing import Any

import requests

from orchestrator.contracts import InputError
from surrogates.serving.asking import Caller
from surrogates.serving.questions import KINDS, PLAN, Answer, SurrogateUnavailableError, decode


class HttpSurrogateClient(Caller):
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
