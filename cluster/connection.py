"""Connecting to Ray: an embedded one that lives and dies with this process, or one that exists already."""

import logging
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cluster import EMBEDDED_STORE_BYTES
from orchestrator.contracts import InputError

# Ray reads this once, when it is imported. Clusters it starts authenticate by token unless told otherwise;
# to one that is given by address it would come without.
os.environ.setdefault("RAY_AUTH_MODE", "token")

import ray
from ray.exceptions import AuthenticationError

NAMESPACE = "foretune"
"""Ray namespace of every named actor of ours."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """An open connection to Ray."""

    address: str
    """What another process passes to reach the same cluster."""
    is_embedded: bool
    """Whether the cluster was started by this process and ends with it."""


@contextmanager
def connected(address: str | None = None, *, cpus: int | None = None) -> Iterator[Connection]:
    """Hold a connection to Ray; leaving stops an embedded cluster and only detaches from another.

    Args:
        address: ``HOST:PORT`` or ``auto`` for a running cluster; None starts one on this machine, reachable
            from this machine only. An embedded cluster never joins one that happens to run here.
        cpus: Logical CPUs of an embedded cluster; None: all of the machine's.

    Yields:
        The connection.

    Raises:
        InputError: No cluster answers at the address.
    """
    try:
        yield open_connection(address, cpus=cpus)
    finally:
        ray.shutdown()


def open_connection(address: str | None, *, cpus: int | None = None) -> Connection:
    """Connect without a scope; see ``connected``."""
    # Ray reports usage to its makers unless told otherwise; nothing leaves the machine unasked.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Embedded clusters of several users or tests on one machine must not find one another.
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False, "namespace": NAMESPACE}
    if address is None:
        ray.init(
            address="local",
            num_cpus=cpus,
            include_dashboard=False,
            object_store_memory=EMBEDDED_STORE_BYTES,
            **quiet,
        )
    else:
        _refuse_silent_host(address)
        try:
            ray.init(address=address, **quiet)
        except AuthenticationError as err:
            raise InputError(
                f"the Ray cluster at {address!r} wants a token and there is none here; put the cluster's "
                "into RAY_AUTH_TOKEN, or RAY_AUTH_MODE=disabled where it runs without"
            ) from err
        except (ConnectionError, RuntimeError, ValueError) as err:
            if (other := _other_version(address, str(err))) is not None:
                raise other from err
            raise InputError(
                f"no Ray cluster answers at {address!r}: {str(err).splitlines()[0]}; start one with "
                "`ray start --head`, or leave --address out to use an embedded one"
            ) from err
    return Connection(address=str(ray.get_runtime_context().gcs_address), is_embedded=address is None)


def _other_version(address: str, said: str) -> InputError | None:
    """Return the error for a cluster of another Ray or Python, if that is what Ray says."""
    versions = re.findall(r"Ray: (\S+)\s+Python: (\S+)", said)
    if "Version mismatch" not in said or len(versions) != 2:
        return None
    (theirs, their_python), (ours, our_python) = versions
    return InputError(
        f"the Ray cluster at {address!r} runs Ray {theirs} on Python {their_python}, this is Ray {ours} on "
        f"Python {our_python}; Ray wants both equal: run this with the cluster's versions, or send the sweep "
        "there with `foretune submit`, which asks for neither"
    )


def is_connected() -> bool:
    """Return whether this process holds a connection to Ray."""
    return bool(ray.is_initialized())


def _refuse_silent_host(address: str) -> None:
    """Say within seconds that nobody listens; Ray itself tries for minutes."""
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError as err:
        raise InputError(
            f"nothing listens at {address!r} ({err.strerror or err}); give the address that "
            "`ray start --head` printed, or leave --address out to use an embedded cluster"
        ) from err
