"""The executioner in a world of plain numbers, where hours pass at once."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.local import NodeNotStartedError
from orchestrator.app.torture.driver import DriverEnd
from orchestrator.app.torture.execution import (
    HEAD_NOTICE_S,
    MOST_UNEXPECTED_ENDS,
    STILL_AFTER_S,
    Deed,
    Execution,
    Executioner,
    Traces,
)
from orchestrator.app.torture.plan import Kill, KillKind, draw_kills
from orchestrator.app.torture.torture import trials_to_outlast

NODE_START_S, DRIVER_START_S, WORKER_START_S = 2.0, 3.0, 0.5
WORKERS_PER_NODE = 2


@dataclass
class Node:
    number: int
    up_at_s: float


@dataclass
class World:
    """Nodes, workers and a driver that do as they should, unless told otherwise."""

    work_s: float
    """Seconds of one worker's work until the sweep is done."""
    nodes_wanted: int
    now_s: float = 0.0
    crashes_at_s: list[float] = field(default_factory=list)
    hangs_from_s: float = float("inf")
    notices_lost_head: bool = True
    nodes_fail_from_s: float = float("inf")
    nodes: list[Node] = field(default_factory=list)
    started: int = 0
    made: int = 0
    killed: list[str] = field(default_factory=list)
    driver_up_at_s: float | None = None
    end: int | None = None
    worker_up_at_s: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for _ in range(self.nodes_wanted):
            self.add_node(wait=True)

    def sleep(self, seconds: float) -> None:
        self.work_s -= seconds * len(self.worker_pids()) if self.now_s < self.hangs_from_s else 0
        self.now_s += seconds
        if self.driver_up_at_s is not None and self.crashes_at_s and self.now_s > self.crashes_at_s[0]:
            self.crashes_at_s.pop(0)
            self._driver_ends(7)
        elif self.driver_up_at_s is not None and self.work_s <= 0:
            self._driver_ends(0)

    def traces(self) -> Traces:
        written = -int(self.work_s * 100)
        return Traces(log_bytes=written, curve_bytes=written // 10)

    def _driver_ends(self, code: int) -> None:
        self.driver_up_at_s, self.end, self.worker_up_at_s = None, code, {}

    # A cluster.

    def add_node(self, *, wait: bool) -> Node:
        self.made += 1
        node = Node(self.made, self.now_s + (0 if wait else NODE_START_S))
        self.nodes.append(node)
        return node

    def mend(self) -> None:
        if self.now_s >= self.nodes_fail_from_s:
            raise NodeNotStartedError("ray start", "no memory")

    def worker_pids(self) -> list[int]:
        if self.driver_up_at_s is None or self.driver_up_at_s > self.now_s:
            return []
        up = [node for node in self.nodes if node.up_at_s <= self.now_s]
        pids = [node.number * 10 + k for node in up for k in range(WORKERS_PER_NODE)]
        for pid in pids:
            self.worker_up_at_s.setdefault(pid, self.now_s + WORKER_START_S)
        return [pid for pid in pids if self.worker_up_at_s[pid] <= self.now_s]

    def kill_worker(self, pid: int) -> bool:
        assert pid in self.worker_pids()
        self.killed.append("worker")
        self.worker_up_at_s[pid] = self.now_s + WORKER_START_S
        return True

    def kill_node(self, node: Node) -> None:
        self.nodes.remove(node)
        self.killed.append("node")

    def restart_head(self) -> None:
        count = len(self.nodes)
        self.nodes = []
        self.killed.append("head")
        for _ in range(count):
            self.add_node(wait=True)
        if self.driver_up_at_s is not None and self.notices_lost_head:
            self._driver_ends(1)

    # A driver.

    def start(self) -> None:
        assert self.driver_up_at_s is None
        assert self.end is None
        self.started += 1
        self.driver_up_at_s = self.now_s + DRIVER_START_S

    def is_alive(self) -> bool:
        return self.driver_up_at_s is not None

    def kill(self) -> bool:
        if self.driver_up_at_s is None:
            return False
        self.killed.append("driver")
        self._driver_ends(-9)
        self.end = None
        return True

    def take_end(self) -> DriverEnd:
        assert self.end is not None
        end, self.end = self.end, None
        return DriverEnd(exit_code=end, tail="its last words")

    def tail(self) -> str:
        return "its last words"


def _execute(world: World, kills: Sequence[Kill]) -> Execution:
    told: list[Deed] = []
    executioner = Executioner(
        world, world, traces=world.traces, on_deed=told.append, clock=lambda: world.now_s, sleep=world.sleep
    )
    execution = executioner.run(kills)
    assert execution.deeds == told
    return execution


def _kill(kind: KillKind, *, takes_driver: bool = False) -> Kill:
    return Kill(kind=kind, pause_s=1, in_recovery=False, pick=0.5, absence_s=1, takes_driver=takes_driver)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 4), st.floats(0.1, 3))
def test_every_kill_of_a_plan_hits_once_and_in_turn_before_the_sweep_ends(
    seed: int, count: int, nodes: int, trial_s: float
) -> None:
    kills = draw_kills(seed, count)
    trials = trials_to_outlast(kills, workers=nodes * WORKERS_PER_NODE, trial_s=trial_s)
    world = World(work_s=trials * trial_s, nodes_wanted=nodes)
    execution = _execute(world, kills)
    assert execution.is_done
    assert not execution.findings
    assert [deed.kind for deed in execution.deeds] == [kill.kind for kill in kills]
    assert [deed.at_s for deed in execution.deeds] == sorted(deed.at_s for deed in execution.deeds)
    wanted = [kill.kind.value for kill in kills]
    assert [kind for kind in world.killed if kind != "driver"] == [w for w in wanted if w != "driver"]
    restarts = sum(kill.kind in (KillKind.DRIVER, KillKind.HEAD) for kill in kills)
    assert world.started == 1 + restarts


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32))
def test_nodes_that_were_killed_are_replaced_while_the_sweep_lasts(seed: int) -> None:
    world = World(work_s=2000, nodes_wanted=3)
    assert _execute(world, draw_kills(seed, 10)).is_done
    assert len(world.nodes) == 3


def test_a_sweep_that_ends_before_the_plan_leaves_kills_undone_and_says_so() -> None:
    execution = _execute(World(work_s=8, nodes_wanted=2), [_kill(KillKind.WORKER)] * 20)
    assert execution.is_done
    assert 0 < len(execution.deeds) < 20
    assert not execution.findings


def test_a_driver_that_ends_unasked_is_found_with_its_last_words_and_the_sweep_goes_on() -> None:
    execution = _execute(World(work_s=60, nodes_wanted=2, crashes_at_s=[8.0]), [_kill(KillKind.WORKER)] * 3)
    assert execution.is_done
    assert len(execution.deeds) == 3
    (finding,) = execution.findings
    assert "exit code 7" in finding.what
    assert finding.evidence == "its last words"


def test_a_driver_that_ends_unasked_again_and_again_is_given_up() -> None:
    world = World(work_s=600, nodes_wanted=2, crashes_at_s=[5.0 * n for n in range(1, 20)])
    execution = _execute(world, [_kill(KillKind.WORKER)] * 3)
    assert not execution.is_done
    assert len(execution.findings) == MOST_UNEXPECTED_ENDS + 1


def test_a_sweep_that_hangs_under_its_driver_is_given_up_and_found() -> None:
    world = World(work_s=600, nodes_wanted=2, hangs_from_s=10)
    execution = _execute(world, [_kill(KillKind.WORKER)] * 3)
    assert not execution.is_done
    assert [f"no new row for {STILL_AFTER_S:g} s" in finding.what for finding in execution.findings] == [True]


def test_a_driver_that_outlives_its_head_for_long_is_found_and_killed() -> None:
    world = World(work_s=3000, nodes_wanted=2, notices_lost_head=False)
    execution = _execute(world, [_kill(KillKind.HEAD), _kill(KillKind.HEAD, takes_driver=True)])
    assert execution.is_done
    assert [deed.target for deed in execution.deeds] == ["head", "head and driver"]
    assert [f"did not end within {HEAD_NOTICE_S:g} s" in found.what for found in execution.findings] == [True]


def test_a_cluster_that_can_not_be_kept_up_is_found_with_what_its_node_said() -> None:
    execution = _execute(World(work_s=600, nodes_wanted=2, nodes_fail_from_s=20), [_kill(KillKind.NODE)] * 3)
    assert not execution.is_done
    assert [finding.evidence.splitlines()[-1] for finding in execution.findings] == ["no memory"]
