"""Reading what a server answered, right or wrong, and what became of a request that it did not answer."""

import email.utils
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import requests

from workers.endpoint.records import Completion, Usage

_MOST_SHOWN = 300


def read_completion(body: Mapping[str, Any], *, retries: int = 0, seconds: float = 0.0) -> Completion:
    """Read the body of an answered request.

    Args:
        body: As the server sent it.
        retries: How often the request was sent again.
        seconds: From first sending it to having the answer.

    Returns:
        The completion; its tokens count as unreported unless both numbers are there.

    Raises:
        LookupError: It is no completion; or a ``TypeError`` or ``AttributeError`` says so.
    """
    choice = body["choices"][0]
    content = choice["message"].get("content")
    usage = body.get("usage") or {}
    counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    prompt_tokens, completion_tokens = [count if isinstance(count, int) else None for count in counts]
    is_reported = prompt_tokens is not None and completion_tokens is not None
    return Completion(
        content=content if isinstance(content, str) else "",
        is_cut=choice.get("finish_reason") == "length",
        usage=Usage(
            requests=1,
            retries=retries,
            prompt_tokens=(prompt_tokens or 0) if is_reported else 0,
            completion_tokens=(completion_tokens or 0) if is_reported else 0,
            unreported=int(not is_reported),
            seconds=seconds,
        ),
    )


def is_completion(response: requests.Response) -> bool:
    """Whether ``read_completion`` can read a response's body."""
    if response.status_code != 200:
        return False
    try:
        read_completion(response.json())
    except (ValueError, LookupError, TypeError, AttributeError):
        return False
    return True


def lacks_model(response: requests.Response) -> bool:
    """Whether a refusal is for the model's name, where that is no 404."""
    try:
        error = response.json()["error"]
        return bool(response.status_code == 400 and error["code"] == "model_not_found")
    except (ValueError, LookupError, TypeError):
        return False


def retry_after_s(response: requests.Response) -> float:
    """Return for how long a server asks to be left alone; 0 where it does not, or in words unknown to us."""
    asked = response.headers.get("Retry-After", "").strip()
    if asked.isdecimal():
        return float(asked)
    try:
        until = email.utils.parsedate_to_datetime(asked)
    except ValueError:
        return 0.0
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


def said(response: requests.Response, *, secret: str | None) -> str:
    """Return what a server said, for people: short, and without our key."""
    text = response.text
    with suppress(ValueError, LookupError, TypeError, AttributeError):
        body = response.json()
        error = body.get("error") or body["detail"]
        text = str(error["message"] if isinstance(error, dict) else error)
    text = " ".join(text.split())
    if secret:
        text = text.replace(secret, "[key]")
    text = text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."
    return f"{response.status_code} {text or response.reason}"


def cause(error: requests.RequestException) -> str:
    """Return what went wrong with a connection in a few words; requests' own text nests a page of reprs."""
    if isinstance(error, requests.ConnectTimeout):
        return "no connection in time"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    inner: BaseException = error
    while inner.__cause__ or inner.__context__:
        inner = inner.__cause__ or inner.__context__ or inner
    return str(getattr(inner, "strerror", None) or inner or type(error).__name__)
