"""What a process and all its descendants cost: CPU seconds and memory, sampled from outside. Linux only.

    with ProcessTree(subprocess.Popen(command).pid) as tree:
        ...
    tree.cpu_s, tree.peak_bytes, tree.driver_peak_bytes

Descendants that cut loose from their parents (daemons) fall to this process, which makes itself their
"subreaper" and so still finds them: whatever this process starts while a tree is open counts to the tree.
A process's CPU time is what it had used when last seen, so at most one sampling interval of each process that
has ended is missed, and processes that live shorter than that may be.
"""

import ctypes
import os
import sys
import threading
import time
from collections.abc import Mapping
from types import TracebackType

import psutil

INTERVAL_S = 0.1
MEMORY_EVERY = 5
"""Memory is read every so many samples: the kernel walks a process's mappings for it."""
_PR_SET_CHILD_SUBREAPER = 36

Identity = tuple[int, float]
"""Process id and start time; an id alone is used again."""


class ProcessTree:
    """Samples a process tree in a thread, from ``__enter__`` to ``__exit__``.

    Args:
        root_pid: A child of this process, just started.
        interval_s: Seconds between two samples.
    """

    def __init__(self, root_pid: int, *, interval_s: float = INTERVAL_S) -> None:
        self._root_pid = root_pid
        self._interval_s = interval_s
        self._cpu_s: dict[Identity, float] = {}
        self._alive: set[Identity] = set()
        self._samples = 0
        self._not_ours: set[int] = set()
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="process-tree", daemon=True)
        self.peak_bytes = 0
        """Most memory the tree held at once: proportional set sizes (shared pages split), summed."""
        self.driver_peak_bytes = 0
        """The root process's own peak resident size, from the kernel's high-water mark."""

    @property
    def cpu_s(self) -> float:
        """CPU seconds, user and system, of all processes of the tree, dead ones with them."""
        return sum(self._cpu_s.values())

    @property
    def processes(self) -> int:
        """Processes seen so far."""
        return len(self._cpu_s)

    def __enter__(self) -> "ProcessTree":
        _become_subreaper()
        self._not_ours = {child.pid for child in psutil.Process().children()} - {self._root_pid}
        self.sample()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        self.sample()

    def wait_until_gone(self, timeout_s: float) -> bool:
        """Wait until no process of the tree is left (one that only waits to be reaped is gone)."""
        deadline = time.monotonic() + timeout_s
        while True:
            self.sample()
            if not self._alive:
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(self._interval_s)

    def sample(self) -> None:
        """Look at every process of the tree once."""
        with self._lock:
            found = self._descendants()
            self._alive = set()
            memory_bytes = 0
            reads_memory = self._samples % MEMORY_EVERY == 0
            for identity, process in found.items():
                try:
                    memory_bytes += self._look_at(identity, process, reads_memory=reads_memory)
                except psutil.NoSuchProcess:
                    continue
            self.peak_bytes = max(self.peak_bytes, memory_bytes)
            self._samples += 1

    def _run(self) -> None:
        while not self._done.wait(self._interval_s):
            self.sample()

    def _look_at(self, identity: Identity, process: psutil.Process, *, reads_memory: bool) -> int:
        """Take in one process; return its memory in bytes, 0 where it isn't read."""
        with process.oneshot():
            times = process.cpu_times()
            self._cpu_s[identity] = times.user + times.system
            is_zombie = process.status() == psutil.STATUS_ZOMBIE
            is_orphan = process.ppid() == os.getpid() and process.pid != self._root_pid
        if is_zombie:
            if is_orphan:
                _reap(process.pid)
            return 0
        self._alive.add(identity)
        if process.pid == self._root_pid:
            self.driver_peak_bytes = max(self.driver_peak_bytes, _high_water_bytes(process))
        return _memory_bytes(process) if reads_memory else 0

    def _descendants(self) -> Mapping[Identity, psutil.Process]:
        """Return what this process has started, but for what was there before the tree."""
        children: dict[int, list[psutil.Process]] = {}
        for process in psutil.process_iter():
            try:
                children.setdefault(process.ppid(), []).append(process)
            except psutil.NoSuchProcess:
                continue
        found: dict[Identity, psutil.Process] = {}
        waiting = [child for child in children.get(os.getpid(), ()) if child.pid not in self._not_ours]
        while waiting:
            process = waiting.pop()
            found[process.pid, process.create_time()] = process
            waiting += children.get(process.pid, ())
        return found


def _become_subreaper() -> None:
    """Have orphaned descendants fall to this process; Linux remembers it until the process ends."""
    if not sys.platform.startswith("linux"):
        raise RuntimeError(f"process trees are measured on Linux only, this is {sys.platform}")
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) failed")


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return  # reaped by whoever started it


def _memory_bytes(process: psutil.Process) -> int:
    """Return the proportional set size, or the resident size of a process that may not be looked into."""
    try:
        return int(process.memory_full_info().pss)
    except psutil.AccessDenied:
        return int(process.memory_info().rss)


def _high_water_bytes(process: psutil.Process) -> int:
    try:
        with open(f"/proc/{process.pid}/status", encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError as err:
        raise psutil.NoSuchProcess(process.pid) from err
    return 0
