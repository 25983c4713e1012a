"""Processes of Linux sessions: who belongs, and ending them without ever hitting a stranger.

A session's number is not given to another as long as one process of it, or its leader's unread exit status,
is there; and a process is signalled through a descriptor (``pidfd``) that was opened before its membership
was read. So a number that was freed and given to someone else is never hit. Linux only.
"""

import os
import signal
import time
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_END_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Process:
    """A line of the process table."""

    pid: int
    parent: int
    session: int
    state: str
    """One letter of the kernel's; ``Z`` is dead and not yet read."""

    @property
    def is_alive(self) -> bool:
        """Whether it can still do anything."""
        return self.state not in "ZX"


def process_of(pid: int) -> Process | None:
    """Return a process' line of the table; None if it is gone."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name stands in brackets and may hold anything, brackets included.
    state, parent, _, session = stat[stat.rindex(")") + 2 :].split()[:4]
    return Process(pid, int(parent), int(session), state)


def title_of(pid: int) -> str:
    """Return what a process calls itself; empty if it is gone."""
    try:
        line = (_PROC / str(pid) / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return line.replace(b"\0", b" ").decode(errors="replace").strip()


def members(sessions: Collection[int]) -> list[Process]:
    """Return the living processes of sessions, and all that descend from them, wherever those went.

    Args:
        sessions: Session numbers, which are the process ids of their leaders.

    Returns:
        The processes, by rising id.
    """
    table = {process.pid: process for process in _processes()}
    children: dict[int, list[int]] = defaultdict(list)
    for process in table.values():
        children[process.parent].append(process.pid)
    found = {process.pid for process in table.values() if process.session in sessions}
    to_visit = list(found)
    while to_visit:
        fresh = [pid for pid in children[to_visit.pop()] if pid not in found]
        found.update(fresh)
        to_visit += fresh
    return [table[pid] for pid in sorted(found) if table[pid].is_alive]


def kill_process(process: Process) -> bool:
    """Send SIGKILL to this very process; False if it was gone, or its number means another by now."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        now = process_of(process.pid)
        if now is None or now.session != process.session or not now.is_alive:
            return False
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def end_sessions(sessions: Collection[int], *, timeout_s: float = _END_TIMEOUT_S) -> list[int]:
    """Kill all processes of sessions, and what they bring forth meanwhile, and wait until they are dead.

    Args:
        sessions: Session numbers.
        timeout_s: How long to wait, in seconds.

    Returns:
        Ids of processes that would not die in time; normally none.
    """
    deadline_s = time.monotonic() + timeout_s
    # What left the session is found through its parents, which die first: it is remembered.
    known: dict[int, Process] = {}
    while True:
        known |= {process.pid: process for process in members(sessions)}
        for process in known.values():
            kill_process(process)
        known = {pid: process for pid, process in known.items() if _is_still(process)}
        if not known or time.monotonic() > deadline_s:
            return sorted(known)
        time.sleep(0.01)


def _is_still(process: Process) -> bool:
    now = process_of(process.pid)
    return now is not None and now.session == process.session and now.is_alive


def _processes() -> Iterator[Process]:
    for entry in os.listdir(_PROC):
        if entry.isdigit() and (process := process_of(int(entry))) is not None:
            yield process
