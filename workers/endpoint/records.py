"""What is said to an endpoint and comes back, as plain records."""

import os
from dataclasses import asdict, dataclass
from typing import Literal
from urllib.parse import urlsplit

from orchestrator.contracts import InputError

_ROUTE = "/chat/completions"
_EXAMPLE = "http://localhost:8000/v1"


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat."""

    role: Literal["system", "user"]
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What a model said."""

    content: str
    is_cut: bool
    """Whether it ended because it had used up its tokens."""
    usage: "Usage"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What answers cost; adds up."""

    requests: int = 0
    """Answered ones: those that a server bills."""
    retries: int = 0
    """Requests that had to be sent again."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    unreported: int = 0
    """Answers whose tokens the server did not tell; they are in ``requests`` and in no number of tokens."""
    seconds: float = 0.0
    """From sending to having the answer, pauses included, summed over requests that may overlap."""

    def __add__(self, other: "Usage") -> "Usage":
        mine, theirs = asdict(self), asdict(other)
        return Usage(**{name: mine[name] + theirs[name] for name in mine})


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSettings:
    """Which model of which server, and how it is asked."""

    url: str
    """Base of the routes, without ``/chat/completions``; most servers' ends in ``/v1``."""
    model: str
    api_key_env: str | None = None
    """Environment variable that holds the key; None: no key is sent. The key itself is kept nowhere."""
    concurrency: int = 4
    """Requests under way at a time."""
    timeout_s: float = 120.0
    """Silence of the server after which a request counts as lost."""
    tries: int = 6
    """How often a request is sent before the server counts as unavailable."""
    seed: int = 0
    """Sent along; what it changes is the server's."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", _checked_url(self.url))
        problems = []
        if not self.model.strip():
            problems.append("the model's name is empty; give one that the endpoint serves")
        for name, least in (("concurrency", 1), ("tries", 1)):
            if getattr(self, name) < least:
                problems.append(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not self.timeout_s > 0:
            problems.append(f"timeout_s must be above 0, got {self.timeout_s}")
        if problems:
            raise InputError(*problems)

    def api_key(self) -> str | None:
        """Return the key from the environment, or None if none is to be sent.

        Returns:
            The key, without white space around it.

        Raises:
            InputError: The variable is not set, or holds what can't be sent.
        """
        if self.api_key_env is None:
            return None
        key = os.environ.get(self.api_key_env, "").strip()
        if not key:
            raise InputError(
                f"the environment variable {self.api_key_env}, to hold the endpoint's key, is not set"
            )
        if not key.isascii() or not key.isprintable():
            raise InputError(
                f"the environment variable {self.api_key_env} holds what is no key: odd characters"
            )
        return key

    @property
    def is_on_this_machine(self) -> bool:
        """Whether requests stay on this machine."""
        host = urlsplit(self.url).hostname or ""
        return host in ("localhost", "::1") or host.startswith("127.")


def _checked_url(url: str) -> str:
    """Return a base URL in the one form that routes are added to, or refuse it."""
    base = url.strip().rstrip("/").removesuffix(_ROUTE)
    try:
        parts = urlsplit(base)
        port_is_right = parts.port is None or parts.port > 0
    except ValueError:
        parts, port_is_right = urlsplit(""), False
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_right:
        raise InputError(f"{url!r} is no URL of an endpoint; give one such as {_EXAMPLE}")
    if parts.username is not None or parts.password is not None:
        raise InputError(
            f"the endpoint's URL at {parts.hostname} holds a name or password, which would end up in logs; "
            "name an environment variable that holds the key instead"
        )
    if parts.query or parts.fragment:
        raise InputError(f"{url!r} goes on behind its path; give the base alone, such as {_EXAMPLE}")
    return base
