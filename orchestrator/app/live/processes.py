"""Live tasks in processes of their own: each trains one task at a time, with one thread, and ends with us."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait

from orchestrator.app.live.playing import LiveRuns, Say, play_task
from orchestrator.app.plan import PlannedTask
from orchestrator.contracts import OrchestrationError, SweepInterruptedError


def play_apart(runs: LiveRuns, tasks: Sequence[PlannedTask], jobs: int, say: Say) -> list[str]:
    """Play tasks in processes, so many at a time.

    Args:
        runs: Of the comparison.
        tasks: Those with missing runs.
        jobs: Processes at a time.
        say: Called with a line a run.

    Returns:
        What ``play_task`` returns, of all tasks.

    Raises:
        SweepInterruptedError: A process died; and what ``play_task`` raises.
    """
    context = multiprocessing.get_context("spawn")
    left, notes = deque(tasks), list[str]()
    running: dict[Connection, tuple[multiprocessing.process.BaseProcess, PlannedTask]] = {}
    try:
        while left or running:
            while left and len(running) < jobs:
                planned = left.popleft()
                ours, theirs = context.Pipe(duplex=False)
                process = context.Process(target=_play, args=(runs, planned, theirs), daemon=True)
                process.start()
                theirs.close()
                running[ours] = (process, planned)
            for ready in wait(list(running)):
                assert isinstance(ready, Connection)
                notes += _heard(ready, running, say)
    finally:
        for begun, _ in running.values():
            begun.terminate()
        for begun, _ in running.values():
            begun.join()
    return notes


def _heard(
    ready: Connection,
    running: dict[Connection, tuple[multiprocessing.process.BaseProcess, PlannedTask]],
    say: Say,
) -> list[str]:
    """Take one message; return the notes of a task that is done."""
    process, planned = running[ready]
    try:
        kind, content = ready.recv()
    except EOFError:
        process.join()
        raise SweepInterruptedError(
            f"the process of {planned.source} died (exit code {process.exitcode}); the same command goes on"
        ) from None
    if kind == "line":
        say(content)
        return []
    del running[ready]
    process.join()
    if kind == "error":
        raise content
    notes: list[str] = content
    return notes


def _play(runs: LiveRuns, planned: PlannedTask, out: Connection) -> None:
    """Play a task in this process, which its parent started."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it, and ends us
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        notes = play_task(runs, planned, lambda line: out.send(("line", line)))
    except OrchestrationError as err:
        out.send(("error", err))
    else:
        out.send(("done", notes))


def _end_with_parent() -> None:
    """Leave when the parent is gone, however it went: nobody would hear of what is trained here."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
