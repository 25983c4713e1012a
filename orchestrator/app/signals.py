"""Being asked to stop."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopEvent(threading.Event):
    """Set once someone asks to stop."""

    at_once = False
    """Whether they asked again: what is under way is no longer waited for."""


@contextmanager
def stop_signals() -> Iterator[StopEvent]:
    """Turn SIGINT and SIGTERM into an event; a second SIGINT hurries, a third interrupts whatever runs."""
    stop = StopEvent()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def request(signum: int, frame: FrameType | None) -> None:
        if stop.is_set() and signum == signal.SIGINT:
            if stop.at_once:
                raise KeyboardInterrupt
            stop.at_once = True
        stop.set()

    before = {signum: signal.signal(signum, request) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
