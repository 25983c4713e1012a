"""Several requests under way at a time.

The threads live as long as one call of ``run_concurrently``. They are daemons: who gives up waiting, and then
ends the process, is not held by a server that does not answer.
"""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

TICK_S = 0.2

Item = TypeVar("Item")
Result = TypeVar("Result")


def run_concurrently(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    concurrency: int,
    stop: threading.Event | None = None,
    tick: Callable[[], None] = lambda: None,
) -> Iterator[tuple[int, Result]]:
    """Do the same with every item, in threads, begun in order.

    Args:
        work: What to do. Once it has raised, nothing more is begun; what is under way is waited for, and then
            the first error is raised here.
        items: With what.
        concurrency: How many at a time.
        stop: Once set, nothing more is begun, and the results end with what is under way.
        tick: Called here every ``TICK_S`` while nothing comes; what it raises ends the waiting at once.

    Yields:
        An item's index and the result, as they come.

    Raises:
        Exception: What ``work`` raised.
    """
    is_over = threading.Event()
    begun = iter(enumerate(items))
    beginning = threading.Lock()
    done: queue.SimpleQueue[tuple[int, Result] | Exception | None] = queue.SimpleQueue()

    def serve() -> None:
        while not (is_over.is_set() or (stop is not None and stop.is_set())):
            with beginning:
                taken = next(begun, None)
            if taken is None:
                break
            try:
                done.put((taken[0], work(taken[1])))
            except Exception as error:  # noqa: BLE001  (the thread's outermost edge: the reader raises it)
                is_over.set()
                done.put(error)
        done.put(None)

    threads = min(concurrency, len(items))
    for _ in range(threads):
        threading.Thread(target=serve, daemon=True).start()
    errors = []
    try:
        while threads:
            try:
                came = done.get(timeout=TICK_S)
            except queue.Empty:
                tick()
                continue
            if came is None:
                threads -= 1
            elif isinstance(came, Exception):
                errors.append(came)
            else:
                yield came
    finally:
        is_over.set()
    if errors:
        raise errors[0]
