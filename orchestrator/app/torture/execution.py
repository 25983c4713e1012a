"""Carrying out a plan of kills on a cluster and a driver, and keeping the sweep going meanwhile.

Plain: the cluster, the driver, the clock and the pauses are passed in. What is killed is chosen among what
the two hand out, so nothing else can be hit.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from orchestrator.app.torture.driver import DriverEnd
from orchestrator.app.torture.plan import Kill, KillKind
from orchestrator.contracts import OrchestrationError

TICK_S = 0.1
WORKING_S = 0.5
"""Work goes on if the log has grown within so many seconds."""
STILL_AFTER_S = 180.0
"""So long without a new row, under a driver: the sweep hangs."""
HEAD_NOTICE_S = 120.0
"""How long a driver may take to find out that its head is gone."""
MOST_UNEXPECTED_ENDS = 3

_Item = TypeVar("_Item")


class Numbered(Protocol):
    """A node."""

    @property
    def number(self) -> int:
        """Which one it is."""


_Node = TypeVar("_Node", bound=Numbered)


class Cluster(Protocol[_Node]):
    """What the execution needs of a cluster; ``LocalCluster`` has it."""

    @property
    def nodes(self) -> Sequence[_Node]:
        """The nodes beside the head, oldest first."""

    def add_node(self, *, wait: bool) -> _Node:
        """Start a node."""

    def mend(self) -> None:
        """Start nodes again that ended unasked."""

    def kill_node(self, node: _Node) -> None:
        """Kill all of a node."""

    def restart_head(self) -> None:
        """Kill all of the cluster and start it anew."""

    def worker_pids(self) -> list[int]:
        """Return the trainers' processes."""

    def kill_worker(self, pid: int) -> bool:
        """Kill a trainer; False if it was gone."""


class Driver(Protocol):
    """What the execution needs of the driver; ``DriverProcess`` has it."""

    def start(self) -> None:
        """Begin the sweep, or continue it."""

    def is_alive(self) -> bool:
        """Whether it is at work."""

    def kill(self) -> bool:
        """Kill it; False if it had ended."""

    def take_end(self) -> DriverEnd:
        """Return how it ended by itself."""

    def tail(self) -> str:
        """Return the end of what it has printed."""


@dataclass(frozen=True, slots=True)
class Traces:
    """What a sweep has left on disk so far."""

    log_bytes: int
    """Changes with every commit."""
    curve_bytes: int
    """Changes with every curve row that is published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """A kill that hit."""

    kind: KillKind
    at_s: float
    """Since the sweep began."""
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that must not happen under kills, with its evidence."""

    at_s: float
    what: str
    evidence: str


@dataclass(slots=True)
class Execution:
    """What came of a plan."""

    deeds: list[Deed]
    findings: list[Finding]
    is_done: bool = False
    """Whether a driver said that every trial has its outcome."""
    wall_s: float = 0.0


class Executioner(Generic[_Node]):
    """Carries out one plan of kills.

    Args:
        cluster: Whose workers, nodes and head are killed.
        driver: The driver, not yet started.
        traces: Asked what the sweep has left on disk.
        on_deed: Told of every kill.
        working_s: See ``WORKING_S``; not below an epoch's time.
        clock: Monotonic seconds.
        sleep: Waits so many seconds.
    """

    def __init__(
        self,
        cluster: Cluster[_Node],
        driver: Driver,
        *,
        traces: Callable[[], Traces],
        on_deed: Callable[[Deed], None],
        working_s: float = WORKING_S,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._cluster, self._driver, self._traces, self._on_deed = cluster, driver, traces, on_deed
        self._clock, self._sleep = clock, sleep
        self._began_s = clock()
        """Of the sweep."""
        self._result = Execution(deeds=[], findings=[])
        self._rejoin_at_s: list[float] = []
        self._seen = Traces(0, 0)
        self._committed_at_s = -math.inf
        self._published_at_s = self._began_s
        self._working_s = working_s
        self._unexpected_ends = 0

    def run(self, kills: Sequence[Kill]) -> Execution:
        """Start the driver, carry out the kills, and let the sweep come to its end.

        Args:
            kills: The plan.

        Returns:
            What hit, what went wrong, and whether the sweep ended well. A sweep that ends before the plan
            does leaves fewer deeds than kills.
        """
        self._start_driver()
        try:
            for kill in kills:
                if not self._wait_for(kill) or not self._strike(kill):
                    break
            self._see_to_its_end()
        except OrchestrationError as err:
            self._find("the cluster could not be kept up", str(err))
        self._result.wall_s = self._now_s()
        return self._result

    def _wait_for(self, kill: Kill) -> bool:
        """Let the pause before a kill pass; False if the sweep is over."""
        left_s = kill.pause_s
        before_s = self._clock()
        while self._keep_going():
            now_s = self._clock()
            if kill.in_recovery or now_s - self._committed_at_s < self._working_s:
                left_s -= now_s - before_s
            if left_s <= 0:
                return True
            before_s = now_s
            self._sleep(TICK_S)
        return False

    def _strike(self, kill: Kill) -> bool:
        """Carry out one kill; False if the sweep is over before it can hit."""
        by_kind = {
            KillKind.WORKER: self._kill_worker,
            KillKind.NODE: self._kill_node,
            KillKind.DRIVER: self._kill_driver,
            KillKind.HEAD: self._kill_head,
        }
        while self._keep_going():
            at_s = self._now_s()
            target = by_kind[kill.kind](kill)
            if target is not None:
                deed = Deed(kind=kill.kind, at_s=at_s, target=target)
                self._result.deeds.append(deed)
                self._on_deed(deed)
                return True
            self._sleep(TICK_S)
        return False

    def _kill_worker(self, kill: Kill) -> str | None:
        pids = self._cluster.worker_pids()
        pid = _picked(pids, kill.pick) if pids else None
        return f"worker {pid}" if pid is not None and self._cluster.kill_worker(pid) else None

    def _kill_node(self, kill: Kill) -> str | None:
        if not self._cluster.nodes:
            return None
        node = _picked(self._cluster.nodes, kill.pick)
        self._cluster.kill_node(node)
        self._rejoin_at_s.append(self._clock() + kill.absence_s)
        return f"node {node.number}"

    def _kill_driver(self, _: Kill) -> str | None:
        if not self._driver.kill():
            return None
        self._start_driver()
        return "driver"

    def _kill_head(self, kill: Kill) -> str:
        driver_fell = kill.takes_driver and self._driver.kill()
        target = "head and driver" if driver_fell else "head"
        self._cluster.restart_head()
        if not driver_fell:
            self._see_driver_off()
        self._start_driver()
        return target

    def _see_driver_off(self) -> None:
        """Wait until a driver has found out that its head is gone; how it ends is no matter."""
        deadline_s = self._clock() + HEAD_NOTICE_S
        while self._driver.is_alive():
            if self._clock() > deadline_s:
                what = f"the driver did not end within {HEAD_NOTICE_S:g} s of its head"
                self._find(what, self._driver.tail())
                if self._driver.kill():
                    return
            self._sleep(TICK_S)
        self._driver.take_end()

    def _see_to_its_end(self) -> None:
        """Bring back the nodes that are due and wait until a driver says that the sweep is done."""
        while self._keep_going():
            self._sleep(TICK_S)

    def _keep_going(self) -> bool:
        """Do what is due between kills; False once the sweep is over, or beyond help."""
        if self._result.is_done or self._unexpected_ends > MOST_UNEXPECTED_ENDS:
            return False
        now_s = self._clock()
        due = [at_s for at_s in self._rejoin_at_s if at_s <= now_s]
        self._rejoin_at_s = [at_s for at_s in self._rejoin_at_s if at_s > now_s]
        for _ in due:
            self._cluster.add_node(wait=False)
        self._cluster.mend()
        if not self._driver.is_alive():
            return self._take_end()
        before, self._seen = self._seen, self._traces()
        if self._seen.log_bytes != before.log_bytes:
            self._committed_at_s = now_s
        if self._seen.curve_bytes != before.curve_bytes:
            self._published_at_s = now_s
        elif now_s - self._published_at_s > STILL_AFTER_S:
            self._find(f"no new row for {STILL_AFTER_S:g} s under a driver at work", self._driver.tail())
            self._unexpected_ends = MOST_UNEXPECTED_ENDS + 1
            return False
        return True

    def _take_end(self) -> bool:
        end = self._driver.take_end()
        if end.exit_code == 0:
            self._result.is_done = True
            return False
        self._find(f"a driver that nobody killed ended with exit code {end.exit_code}", end.tail)
        self._unexpected_ends += 1
        if self._unexpected_ends > MOST_UNEXPECTED_ENDS:
            return False
        self._start_driver()
        return True

    def _start_driver(self) -> None:
        self._driver.start()
        # What the driver before committed is no sign that this one works.
        self._committed_at_s, self._published_at_s = -math.inf, self._clock()

    def _find(self, what: str, evidence: str) -> None:
        self._result.findings.append(Finding(at_s=self._now_s(), what=what, evidence=evidence))

    def _now_s(self) -> float:
        return self._clock() - self._began_s


def _picked(items: Sequence[_Item], position: float) -> _Item:
    """Return the item at a position in [0, 1) of a sequence that is not empty."""
    return items[int(position * len(items))]
