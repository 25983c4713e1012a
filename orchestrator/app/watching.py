"""Looking on while a sweep runs, from its folder alone: the state whenever it changed, and the logs."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.live import Live

from orchestrator.app.roots import existing_spec
from orchestrator.app.status import SweepStatus, status_of
from orchestrator.contracts import InputError, WorkerId
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.lock import is_held

Pause = Callable[[float], None]
"""Waits so many seconds; tests move time by it."""


def plain_line(status: SweepStatus) -> str:
    """Return a sweep's status as one line."""
    outcomes = ", ".join(f"{count} {name}" for name, count in status.outcomes.items()) or "none yet"
    who = "a driver is at work" if status.driver else "no driver is at work"
    return (
        f"{status.finished}/{status.planned} trials ({outcomes}), {status.points} points, "
        f"{'done' if status.is_done else who}"
    )


def sights(root: Path, *, every_s: float, pause: Pause = time.sleep) -> Iterator[SweepStatus]:
    """Yield what a root shows, first now and then whenever it changed, until the sweep is done.

    Args:
        root: The sweep's folder.
        every_s: Seconds between two looks.
        pause: Waits.

    Yields:
        A status that differs from the one before it.

    Raises:
        InputError: The root holds no sweep.
    """
    last: SweepStatus | None = None
    while last is None or not last.is_done:
        if last is not None:
            pause(every_s)
        status = status_of(root)
        if status != last:
            last = status
            yield status


def watch(root: Path, *, console: Console, every_s: float = 2.0, pause: Pause = time.sleep) -> None:
    """Show a sweep until it is done: a live picture on a terminal, elsewhere a line at every change.

    Args:
        root: The sweep's folder.
        console: Where to.
        every_s: Seconds between two looks.
        pause: Waits.

    Raises:
        InputError: The root holds no sweep.
    """
    seen = sights(root, every_s=every_s, pause=pause)
    if not console.is_terminal:
        last = ""
        for line in map(plain_line, seen):
            if line != last:
                console.print(line, highlight=False, soft_wrap=True)
            last = line
        return
    with Live(console=console, auto_refresh=False) as live:
        for status in seen:
            live.update(status.render(), refresh=True)


def log_file(root: Path, worker: str | None = None) -> Path:
    """Return a sweep's log.

    Args:
        root: The sweep's folder.
        worker: Of this worker; None: the driver's.

    Returns:
        A file that exists.

    Raises:
        InputError: The root holds no sweep, or there is no such log; the text names those there are.
    """
    existing_spec(root)
    layout = RootLayout(root)
    if worker is None:
        if not layout.driver_log.is_file():
            raise InputError(f"{root} has no log yet: no driver has been at work there")
        return layout.driver_log
    workers = worker_ids(root)
    if worker not in workers:
        known = f"there are {', '.join(workers)}" if workers else "there is none of any worker yet"
        raise InputError(f"{root} has no log of worker {worker!r}; {known}")
    return layout.worker_log(WorkerId(worker))


def worker_ids(root: Path) -> list[str]:
    """Return the workers that a sweep keeps logs of, the last that printed something first."""
    logs = RootLayout(root).worker_logs_dir
    files = list(logs.glob("*.log")) if logs.is_dir() else []
    return [path.stem for path in sorted(files, key=lambda path: path.stat().st_mtime, reverse=True)]


def last_lines(path: Path, count: int) -> list[str]:
    """Return the last lines of a log, without their ends."""
    with path.open(encoding="utf-8", errors="replace") as file:
        return [line.rstrip("\n") for line in deque(file, maxlen=count)]


def follow(
    root: Path, path: Path, *, lines: int, every_s: float = 0.5, pause: Pause = time.sleep
) -> Iterator[str]:
    """Yield the end of a log and what it grows by, as long as a driver is at work in the root.

    Args:
        root: The sweep's folder.
        path: One of its logs.
        lines: How many of the lines it has now.
        every_s: Seconds between two looks.
        pause: Waits.

    Yields:
        Text as it was written, one line or several.
    """
    lock = RootLayout(root).lock_file
    with path.open(encoding="utf-8", errors="replace") as file:
        yield "".join(deque(file, maxlen=lines))
        is_driven = True
        while is_driven:
            # Before reading: what a driver wrote before it let go is read after.
            is_driven = is_held(lock)
            if text := file.read():
                yield text
            elif is_driven:
                pause(every_s)
