"""Talking to Ray's job server: its address, time-outs, and what it says in sentences that tell what to do."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from orchestrator.contracts import InputError, first_line

# Ray reads this once, when it is imported; without it requests to a cluster that wants a token carry none.
os.environ.setdefault("RAY_AUTH_MODE", "token")

import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobSubmissionClient

ADDRESS_VARIABLE = "RAY_API_SERVER_ADDRESS"
"""Where Ray's own commands look for the job server, too."""
_CHATTY = (
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
)
"""Loggers of Ray's that report on standard error what no one asked for."""
CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 60.0


class JobClient(JobSubmissionClient):
    """Ray's client with time-outs, which it lacks.

    Args:
        address: From ``server_address``.
        connect_timeout_s: Until a host that does not answer counts as absent.
        answer_timeout_s: Until a server that says nothing counts as no job server.

    Raises:
        InputError: Nobody listens there, or it is no job server.
    """

    def __init__(
        self,
        address: str,
        *,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        answer_timeout_s: float = ANSWER_TIMEOUT_S,
    ) -> None:
        self._timeouts_s = (connect_timeout_s, answer_timeout_s)
        for chatty in _CHATTY:
            logging.getLogger(chatty).setLevel(logging.WARNING)
        with explained(address), _overruling_ray(address):
            super().__init__(address)

    def ray_version(self) -> str:
        """Return the version of the cluster's Ray; told without a token."""
        return str(self._do_request("GET", "/api/version").json()["ray_version"])

    def _do_request(self, method: str, endpoint: str, **options: Any) -> requests.Response:
        response: requests.Response = super()._do_request(
            method, endpoint, timeout=self._timeouts_s, **options
        )
        return response


def server_address(given: str | None) -> str:
    """Return a job server's address as a URL.

    Args:
        given: ``http://HOST:PORT``, ``https://...`` or ``HOST:PORT``; None takes ``RAY_API_SERVER_ADDRESS``.

    Returns:
        The URL, without a slash at its end.

    Raises:
        InputError: There is no address, or it is none of a job server.
    """
    address = given or os.environ.get(ADDRESS_VARIABLE)
    if not address:
        raise InputError(
            f"say where the cluster's job server is: --address http://HOST:8265, or set {ADDRESS_VARIABLE}"
        )
    parts = urlsplit(address if "://" in address else f"http://{address}")
    try:
        has_port = parts.port is not None
    except ValueError:
        has_port = False
    if parts.scheme not in ("http", "https") or not parts.hostname or not (has_port or "://" in address):
        raise InputError(
            f"the address of a job server is http://HOST:PORT or HOST:PORT, got {address!r}; its port is the "
            "dashboard's, 8265 unless set otherwise"
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")


@contextmanager
def explained(address: str) -> Iterator[None]:
    """Turn what the client and the server say into one sentence on what to do.

    Args:
        address: Of the job server, for the sentence.

    Yields:
        Nothing; the requests are made within.

    Raises:
        InputError: One of them failed.
    """
    try:
        yield
    except AuthenticationError as err:
        raise InputError(
            f"the Ray cluster at {address} refuses the request ({first_line(err).split('. ')[0]}); put the "
            "cluster's token into RAY_AUTH_TOKEN or a file named by RAY_AUTH_TOKEN_PATH, or set "
            "RAY_AUTH_MODE=disabled where the cluster runs without"
        ) from err
    except requests.exceptions.ReadTimeout as err:
        raise InputError(
            f"what listens at {address} does not answer as Ray's job server; is it the dashboard's "
            "port (8265 unless set otherwise), and is the head node alive?"
        ) from err
    except (ConnectionError, requests.exceptions.ConnectionError) as err:
        raise InputError(
            f"no Ray job server answers at {address}; give the dashboard's address that "
            "`ray start --head` printed (port 8265 unless set otherwise), and see that the head node "
            "has ray[default] and runs with --include-dashboard=true"
        ) from err
    except (KeyError, requests.exceptions.RequestException) as err:
        raise _stranger(address) from err
    except (RuntimeError, TypeError, ValueError) as err:
        if "Version check returned 404" in str(err):
            raise _stranger(address) from err
        raise InputError(f"the Ray job server at {address} refuses: {first_line(err)}") from err


def _stranger(address: str) -> InputError:
    return InputError(
        f"what answers at {address} is not Ray's job server; give the dashboard's address, port "
        "8265 unless set otherwise"
    )


@contextmanager
def _overruling_ray(address: str) -> Iterator[None]:
    """Have Ray's client take our address: its own variables would overrule an argument."""
    before = os.environ.get(ADDRESS_VARIABLE)
    os.environ[ADDRESS_VARIABLE] = address
    try:
        yield
    finally:
        if before is None:
            del os.environ[ADDRESS_VARIABLE]
        else:
            os.environ[ADDRESS_VARIABLE] = before
