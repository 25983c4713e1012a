"""Running the HTTP application in a thread, on a socket that is bound before anything else starts."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from orchestrator.contracts import InputError

_START_TIMEOUT_S = 30.0


@contextmanager
def running(app: Any, *, host: str, port: int) -> Iterator[str]:
    """Serve an application until the scope is left; requests under way are answered first.

    Args:
        app: The application.
        host: Address to listen at.
        port: Port; 0 takes a free one.

    Yields:
        The URL.

    Raises:
        InputError: The address can't be listened at.
    """
    import uvicorn

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except OSError as err:
        raise InputError(
            f"can't listen at {host} port {port}: {err.strerror}; take another --port (0: a free one)"
        ) from err
    # An answer's head and body are written one after the other. asyncio turns Nagle's algorithm off only for
    # sockets that name their protocol, and these don't: the body would wait 40 ms for the head's receipt.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # connections inherit it
    settings = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=10)
    server = uvicorn.Server(settings)
    thread = threading.Thread(target=server.run, args=([listening],), name="http", daemon=True)
    thread.start()
    try:
        _wait_started(server, thread)
        shown = f"[{host}]" if ":" in host else host
        yield f"http://{shown}:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


def _wait_started(server: Any, thread: threading.Thread) -> None:
    deadline_s = time.monotonic() + _START_TIMEOUT_S
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline_s:
            raise InputError("the HTTP server did not start; see the log above")
        time.sleep(0.01)
