"""Requests to an OpenAI-compatible server, through what servers do to requests.

This is ``requests`` and not the package ``openai`` (3.54): of that we would need one route, and it caps its
pauses at 8 s, gives up on a Retry-After above two minutes, can't be interrupted while it pauses, and takes a
key, an organisation and a project from the environment, to send them to whatever server it is pointed at.
"""

import logging
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import requests

from orchestrator.contracts import InputError
from workers.endpoint.errors import EndpointUnavailableError
from workers.endpoint.records import EndpointSettings
from workers.endpoint.replies import cause, is_completion, lacks_model, retry_after_s, said

CONNECT_TIMEOUT_S = 10.0
FIRST_PAUSE_S = 1.0
"""Before a request is sent again, at most; doubled each time up to ``LONGEST_PAUSE_S``. Half is drawn."""
LONGEST_PAUSE_S = 60.0
LONGEST_RETRY_AFTER_S = 900.0
"""A server that asks for more patience counts as unavailable."""
REFUSALS = frozenset({400, 413, 415, 422, 501})
"""Answers to a request that the server does not take as it is."""
_MOST_MODELS_SHOWN = 10

Pause = Callable[[float], bool]
"""Waits for so many seconds; returns whether to give up, perhaps sooner, instead of going on."""

logger = logging.getLogger(__name__)


class Transport:
    """Sends requests to one server; may be used by several threads.

    Args:
        settings: Which server, and how often to try.
        pause: How to wait before a request is sent again.

    Raises:
        InputError: The settings name a key that is not there.
    """

    def __init__(self, settings: EndpointSettings, pause: Pause) -> None:
        self._settings = settings
        self._pause = pause
        self._key = settings.api_key()
        self._own = threading.local()
        self._jitter = random.Random()
        if self._key and not settings.is_on_this_machine and settings.url.startswith("http:"):
            logger.warning("the endpoint's key crosses the network unencrypted url=%s", settings.url)

    def check(self) -> None:
        """Refuse a server that is not there, or does not take the key; asks it for its models, once.

        Raises:
            InputError: No server answers at the URL, or the key is not right.
        """
        try:
            response = self._get_models()
        except requests.RequestException as error:
            raise InputError(
                f"no endpoint answers at {self._settings.url} ({cause(error)}); start it, or give another URL"
            ) from error
        self._refuse_for_good(response)

    def post(self, body: Mapping[str, Any]) -> tuple[requests.Response, int]:
        """Ask for a completion until it is there or refused.

        Args:
            body: JSON-like values.

        Returns:
            A completion, or an answer whose status is among ``REFUSALS``; and how often the request was sent
            again.

        Raises:
            InputError: The server does not take the key or does not have the model.
            EndpointUnavailableError: It did not answer, however often it was asked, or a pause was given up.
        """
        url = f"{self._settings.url}/chat/completions"
        timeout_s = (CONNECT_TIMEOUT_S, self._settings.timeout_s)
        for sent in range(1, self._settings.tries + 1):
            wait_s = 0.0
            try:
                response = self._session().post(url, json=body, timeout=timeout_s, allow_redirects=False)
            except requests.RequestException as error:
                trouble = cause(error)
            else:
                self._refuse_for_good(response)
                if response.status_code in REFUSALS or is_completion(response):
                    return response, sent - 1
                trouble = self.said(response)
                wait_s = retry_after_s(response)
            if wait_s > LONGEST_RETRY_AFTER_S:
                raise EndpointUnavailableError(
                    f"{url} asks to wait {wait_s:.0f} s ({trouble}); come back then"
                )
            if sent < self._settings.tries:
                longest_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (sent - 1))
                wait_s += longest_s * self._jitter.uniform(0.5, 1.0)
                logger.info("endpoint in trouble try=%d pause_s=%.1f trouble=%s", sent, wait_s, trouble)
                if self._pause(wait_s):
                    raise EndpointUnavailableError(f"{url} was not asked again after {trouble}: stopped")
        raise EndpointUnavailableError(
            f"{url} gave no answer in {self._settings.tries} tries (the last: {trouble}); look at the "
            "server, then come back"
        )

    def said(self, response: requests.Response) -> str:
        """Return what the server said, for people."""
        return said(response, secret=self._key)

    def _refuse_for_good(self, response: requests.Response) -> None:
        """Raise ``InputError`` for an answer that no other request to this server would change."""
        status, url, model = response.status_code, self._settings.url, self._settings.model
        if status in (401, 403):
            sent = f"the key in {self._settings.api_key_env}" if self._key else "requests without a key"
            raise InputError(
                f"{url} does not take {sent} ({self.said(response)}); name an environment variable that "
                "holds a key it takes"
            )
        if 300 <= status < 400:
            raise InputError(f"{url} sends on to {response.headers.get('Location')}; give that URL's base")
        if response.request.method != "POST" or (status not in (404, 405) and not lacks_model(response)):
            return
        models = self._models()
        if models and model not in models:
            raise InputError(
                f"{url} has no model {model!r} ({self.said(response)}); it has {_listed(models)}"
            )
        raise InputError(
            f"{url} has no chat completions of a model {model!r} ({self.said(response)}); give a model that "
            "it serves, and the base of its URL, which mostly ends in /v1"
        )

    def _models(self) -> list[str]:
        """Return what models the server says it has; none where it does not say."""
        try:
            return [str(item["id"]) for item in self._get_models().json()["data"]]
        except (requests.RequestException, ValueError, LookupError, TypeError):
            return []

    def _get_models(self) -> requests.Response:
        url = f"{self._settings.url}/models"
        return self._session().get(url, timeout=CONNECT_TIMEOUT_S, allow_redirects=False)

    def _session(self) -> requests.Session:
        """Return this thread's connections: ``requests`` does not promise that threads can share them."""
        session: requests.Session | None = getattr(self._own, "session", None)
        if session is None:
            session = requests.Session()
            # Also keeps requests from sending what a .netrc file has for this host.
            session.auth = self._sign
            # A proxy for the web is none for this machine.
            session.trust_env = not self._settings.is_on_this_machine
            self._own.session = session
        return session

    def _sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(sorted(names)[:_MOST_MODELS_SHOWN])
    hidden = len(names) - _MOST_MODELS_SHOWN
    return shown if hidden <= 0 else f"{shown} and {hidden} more"
