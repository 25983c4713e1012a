"""A Ray cluster of several node processes on this machine: real raylets to lose, no second machine needed.

Owned by the process that makes it and gone with it, however that dies (``cluster.warden``). Each node is
`ray start --block` in a session of its own, with a loopback address, a temporary folder and ports of its own:
nodes that share a folder race for socket names when they start at once. A head takes about 3 s and 390 MB to
start, three more nodes together 4 s and 190 MB each, without the dashboard and any worker. Ray's processes
listen on all interfaces whatever address a node has; what guards them is the token, new for each cluster.
"""

import os
import random
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from cluster.processes import end_sessions, kill_process, members, process_of, title_of
from cluster.warden import Warden
from orchestrator.contracts import InputError, OrchestrationError

OBJECT_STORE_BYTES = 80 * 2**20
"""Of each node; a little above the least that Ray takes."""
START_TIMEOUT_S = 120.0
START_TRIES = 3
_STARTED = "Ray runtime started"
_FIXED_PORTS = range(21_000, 32_000)
"""Below the ports that the kernel hands out, so that a head finds its own free when it is restarted."""
_OF_OTHER_CLUSTERS = ("RAY_ADDRESS", "RAY_AUTH_TOKEN", "RAY_API_SERVER_ADDRESS", "RAY_NAMESPACE")


class NodeNotStartedError(OrchestrationError):
    """A node of a local cluster did not come up, several times in a row."""

    def __init__(self, command: str, log_tail: str) -> None:
        super().__init__(command, log_tail)
        self.command, self.log_tail = command, log_tail

    def __str__(self) -> str:
        return f"`{self.command}` did not start a node; the end of what it said:\n{self.log_tail}"


@dataclass(eq=False, slots=True)
class NodeHandle:
    """One node: the processes of one session."""

    number: int
    """Counts from 0, which is the first head; never used again."""
    ip_address: str
    folder: Path
    """Sockets and logs."""
    is_head: bool
    process: subprocess.Popen[bytes] = field(repr=False)
    command: tuple[str, ...] = field(repr=False)
    launched_at_s: float = field(default_factory=time.monotonic, repr=False)
    has_started: bool = False
    """Whether it has joined the cluster, at one time."""
    tries: int = 1
    """Times that it was launched since it last joined."""

    @property
    def session(self) -> int:
        """The session of all its processes."""
        return self.process.pid

    @property
    def is_alive(self) -> bool:
        """Whether `ray start` is still there; it ends when its raylet does."""
        # Not by `poll`: to read the exit status is to let go of the session's number.
        process = process_of(self.process.pid)
        return process is not None and process.is_alive

    @property
    def log(self) -> Path:
        """What `ray start` printed."""
        return self.folder / "start.log"


class LocalCluster:
    """A head and further nodes on this machine; a context manager.

    Args:
        nodes: Nodes beside the head.
        cpus_per_node: Logical CPUs of each.
        gpus_per_node: GPUs each claims to have.
        head_cpus: Logical CPUs of the head.
        dashboard: Whether the dashboard and its job server run; they take about 200 MB.

    Raises:
        InputError: This is not Linux.
        NodeNotStartedError: A node does not come up.
    """

    def __init__(
        self,
        *,
        nodes: int = 2,
        cpus_per_node: float = 2,
        gpus_per_node: float = 0,
        head_cpus: float = 0,
        dashboard: bool = False,
    ) -> None:
        if sys.platform != "linux":
            raise InputError(f"a cluster of several nodes on one machine needs Linux, not {sys.platform}")
        self._cpus_per_node, self._gpus_per_node = cpus_per_node, gpus_per_node
        self._head_cpus, self._has_dashboard = head_cpus, dashboard
        # Sockets' paths may be 107 characters long: the folder's name is short.
        self._folder = Path(tempfile.mkdtemp(prefix="ft-"))
        self._network = f"127.{random.randrange(1, 255)}.{random.randrange(256)}"
        self._head_ip = f"{self._network}.1"
        self._port, self._dashboard_port, self._client_port = _free_ports(3)
        self.token_file = self._folder / "token"
        """Holds the cluster's token; readable by its owner only."""
        self.token_file.touch(mode=0o600)
        self.token_file.write_text(secrets.token_hex(32))
        self._made = 0
        self._nodes: list[NodeHandle] = []
        self.warden = Warden(self._folder)
        """Ends the nodes, and what else it is told to watch, should this process die."""
        try:
            self._start_all(nodes)
        except BaseException:
            self.close()
            raise

    @property
    def address(self) -> str:
        """``HOST:PORT`` for ``--address``; stays the same when the head is restarted."""
        return f"{self._head_ip}:{self._port}"

    @property
    def dashboard_url(self) -> str:
        """Address of the dashboard and job server."""
        if not self._has_dashboard:
            raise ValueError("this cluster was made without a dashboard; make it with dashboard=True")
        return f"http://127.0.0.1:{self._dashboard_port}"

    @property
    def environment(self) -> dict[str, str]:
        """This process' environment, changed to what a client needs: this cluster's token and no other."""
        mine = {name: value for name, value in os.environ.items() if name not in _OF_OTHER_CLUSTERS}
        return mine | {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.token_file),
            "RAY_USAGE_STATS_ENABLED": "0",
        }

    @property
    def head(self) -> NodeHandle:
        """The head's node."""
        return next(node for node in self._nodes if node.is_head)

    @property
    def nodes(self) -> tuple[NodeHandle, ...]:
        """The nodes beside the head, oldest first, without those that were killed."""
        return tuple(node for node in self._nodes if not node.is_head)

    @property
    def sessions(self) -> tuple[int, ...]:
        """The sessions of all nodes."""
        return tuple(node.session for node in self._nodes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add_node(self, *, wait: bool = True) -> NodeHandle:
        """Start another node.

        Args:
            wait: Whether to return only when it has joined; otherwise see ``wait_for``.

        Returns:
            The node.

        Raises:
            NodeNotStartedError: It does not come up.
        """
        node = self._launch(is_head=False)
        if wait:
            self.wait_for([node])
        return node

    def kill_node(self, node: NodeHandle) -> None:
        """Kill all processes of a node at once, as a power cut would."""
        if node not in self._nodes:
            raise ValueError(f"node {node.number} is no node of this cluster, or was killed before")
        self._end([node])

    def restart_head(self) -> None:
        """Kill the head, and with it the cluster; then start as many nodes anew under the same address.

        Raises:
            NodeNotStartedError: A node does not come up.
        """
        count = len(self.nodes)
        self._end([self.head])
        self._end(self._nodes)
        self._start_all(count)

    def worker_pids(self, actor_class: str = "RemoteSession") -> list[int]:
        """Return the processes on this cluster that are actors of a class; trainers unless told otherwise."""
        title = f"ray::{actor_class}"
        return [process.pid for process in members(self.sessions) if title_of(process.pid).startswith(title)]

    def kill_worker(self, pid: int) -> bool:
        """Kill one process of this cluster.

        Args:
            pid: Its id.

        Returns:
            False if no process of this cluster has that id any more.
        """
        found = [process for process in members(self.sessions) if process.pid == pid]
        return bool(found) and kill_process(found[0])

    def close(self) -> None:
        """End every process of the cluster, wait for it, and remove the cluster's folder."""
        try:
            self._end(self._nodes)
        finally:
            self.warden.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def wait_for(self, nodes: Sequence[NodeHandle]) -> None:
        """Wait until nodes have joined; those that fail are tried again.

        Args:
            nodes: Nodes of this cluster.

        Raises:
            NodeNotStartedError: A node did not come up ``START_TRIES`` times.
        """
        while not all([self._has_joined(node) for node in nodes]):
            time.sleep(0.05)

    def mend(self) -> None:
        """Start nodes again that ended unasked, be it before or after they joined; waits for nothing.

        Raises:
            NodeNotStartedError: A node did not come up ``START_TRIES`` times.
        """
        for node in self.nodes:
            self._has_joined(node)

    def _start_all(self, nodes: int) -> None:
        self.wait_for([self._launch(is_head=True)])
        self.wait_for([self._launch(is_head=False) for _ in range(nodes)])

    def _launch(self, *, is_head: bool) -> NodeHandle:
        number = self._made
        self._made += 1
        ip_address = self._head_ip if is_head else f"{self._network}.{2 + number % 250}"
        folder = self._folder / str(number)
        folder.mkdir()
        command = self._command(ip_address, folder, is_head=is_head)
        node = NodeHandle(
            number=number,
            ip_address=ip_address,
            folder=folder,
            is_head=is_head,
            process=self._spawn(command, folder / "start.log"),
            command=command,
        )
        self._nodes.append(node)
        self.warden.watch(node.session)
        return node

    def _command(self, ip_address: str, folder: Path, *, is_head: bool) -> tuple[str, ...]:
        options: dict[str, object] = {
            "node-ip-address": ip_address,
            "temp-dir": folder,
            "object-store-memory": OBJECT_STORE_BYTES,
            "num-cpus": f"{self._head_cpus if is_head else self._cpus_per_node:g}",
            "num-gpus": f"{0 if is_head else self._gpus_per_node:g}",
            # 0: any free port. Ray's defaults are the same for all nodes of a machine.
            "min-worker-port": 0,
            "max-worker-port": 0,
            "dashboard-agent-listen-port": 0,
            "include-log-monitor": "false",
        }
        if is_head:
            options |= {
                "port": self._port,
                "ray-client-server-port": self._client_port,
                "include-dashboard": str(self._has_dashboard).lower(),
                "dashboard-host": "127.0.0.1",
                "dashboard-port": self._dashboard_port,
            }
        else:
            options["address"] = self.address
        kind = ("--head",) if is_head else ()
        ray = (sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *kind)
        return (*ray, *(f"--{name}={value}" for name, value in options.items()))

    def _spawn(self, command: Sequence[str], log: Path) -> "subprocess.Popen[bytes]":
        with log.open("wb") as output:
            return subprocess.Popen(
                command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def _has_joined(self, node: NodeHandle) -> bool:
        """Look whether a node is up; start it again if it has ended or takes too long."""
        is_alive = node.is_alive
        if is_alive and node.has_started:
            return True
        if is_alive and _STARTED in node.log.read_text(errors="replace"):
            node.has_started, node.tries = True, 0
            return True
        if not is_alive or time.monotonic() - node.launched_at_s > START_TIMEOUT_S:
            self._launch_again(node)
        return False

    def _launch_again(self, node: NodeHandle) -> None:
        if node.tries == START_TRIES:
            tail = "\n".join(node.log.read_text(errors="replace").splitlines()[-15:])
            raise NodeNotStartedError(" ".join(node.command), tail)
        self._stop(node)
        node.process = self._spawn(node.command, node.log)
        self.warden.watch(node.session)
        node.launched_at_s, node.has_started, node.tries = time.monotonic(), False, node.tries + 1

    def _end(self, nodes: Sequence[NodeHandle]) -> None:
        gone = list(nodes)
        end_sessions([node.session for node in gone])
        for node in gone:
            self._stop(node)
            shutil.rmtree(node.folder, ignore_errors=True)
            self._nodes.remove(node)

    def _stop(self, node: NodeHandle) -> None:
        """Make sure nothing of a node lives, then let go of its session's number."""
        left = end_sessions([node.session])
        if left:
            raise RuntimeError(f"processes {left} of node {node.number} survive SIGKILL")
        self.warden.forget(node.session)
        node.process.wait()


def _free_ports(count: int) -> list[int]:
    """Return ports on which nobody listens, each probed on all interfaces."""
    ports: list[int] = []
    for port in random.sample(_FIXED_PORTS, len(_FIXED_PORTS)):
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
        ports.append(port)
        if len(ports) == count:
            return ports
    raise OSError(f"fewer than {count} ports are free between {_FIXED_PORTS[0]} and {_FIXED_PORTS[-1]}")
