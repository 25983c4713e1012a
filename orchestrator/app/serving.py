"""A surrogate actor that other processes find: where it answers stands beside the ledger it learned from."""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from cluster.connection import connected
from orchestrator.app.roots import learnable_spec
from orchestrator.app.signals import stop_signals
from orchestrator.metadataset.durable import write_durably
from orchestrator.metadataset.layout import RootLayout
from surrogates.serving.client import SurrogateClient


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a root's surrogate actor answers."""

    address: str
    """Of its Ray cluster."""
    pid: int
    """Of the process that started it."""


def endpoint_of(root: Path) -> Endpoint | None:
    """Return where a root's actor was started last; whether it still answers is another matter."""
    try:
        return Endpoint(**json.loads(RootLayout(root).endpoint_json.read_text()))
    except FileNotFoundError:
        return None


@contextmanager
def serving(root: Path, *, address: str | None = None) -> Iterator[SurrogateClient]:
    """Start the surrogate actor of a root; leaving ends it where its cluster is embedded, else it stays.

    Args:
        root: The sweep to learn from.
        address: A running Ray cluster; None: an embedded one.

    Yields:
        A client.

    Raises:
        InputError: The root holds no sweep, or no cluster answers.
        NothingLearnedError: The sweep has no finished trial yet.
    """
    learnable_spec(root)
    root = root.absolute()
    layout = RootLayout(root)
    with connected(address) as connection:
        client = SurrogateClient.serve(root)
        endpoint = Endpoint(address=connection.address, pid=os.getpid())
        write_durably(layout.endpoint_json, json.dumps(asdict(endpoint)).encode())
        try:
            yield client
        finally:
            if connection.is_embedded:
                layout.endpoint_json.unlink(missing_ok=True)


def serve_until_interrupted(
    root: Path, *, address: str | None, console: Console, as_json: bool = False
) -> None:
    """Serve from this process until a signal ends it; on a given cluster, start the actor and return.

    Args:
        root: The sweep to learn from.
        address: A running Ray cluster; None: an embedded one.
        console: Where it is said how to ask.
        as_json: Say it as one line of JSON instead.

    Raises:
        InputError: As ``serving``.
        NothingLearnedError: As ``serving``.
    """
    with serving(root, address=address) as client, stop_signals() as stop:
        info = client.info()
        if as_json:
            console.print(json.dumps(info), soft_wrap=True, highlight=False, markup=False)
            if address is None:
                wait_for(stop)
            return
        console.print(f"The surrogate of {root} is up: {info}", soft_wrap=True, highlight=False, markup=False)
        console.print(f"Ask it: foretune recommend TASK --budget 60s --root {root}", soft_wrap=True)
        if address is None:
            console.print("Ctrl-C ends it.")
            wait_for(stop)


def wait_for(stop: threading.Event) -> None:
    """Wait for an event in a way that lets signal handlers run."""
    while not stop.wait(timeout=1.0):
        pass
