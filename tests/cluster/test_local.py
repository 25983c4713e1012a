import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.local import LocalCluster, NodeNotStartedError
from cluster.processes import members

_CLIENT = """
import os, sys, time
from cluster.connection import connected
import ray

@ray.remote(num_cpus=1, max_restarts=0)
class RemoteSession:
    def who(self): return os.getpid(), ray.get_runtime_context().get_node_id()

with connected(sys.argv[1]):
    cpus = int(ray.cluster_resources()["CPU"])
    actors = [RemoteSession.remote() for _ in range(cpus)]
    pids, nodes = zip(*ray.get([actor.who.remote() for actor in actors]))
    print(cpus, len(set(nodes)), *sorted(pids), flush=True)
    sys.stdin.read()
"""
_OWNER = """
import sys, time
from cluster.local import LocalCluster
cluster = LocalCluster(nodes=1, cpus_per_node=1)
print(cluster.token_file.parent, *cluster.sessions, flush=True)
time.sleep(600)
"""


def _client(cluster: LocalCluster) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", _CLIENT, cluster.address],
        env=cluster.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _answer(client: "subprocess.Popen[str]") -> list[int]:
    assert client.stdout is not None
    return [int(word) for word in client.stdout.readline().split()]


def _wait(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


@pytest.mark.ray
def test_workers_nodes_and_head_die_singly_and_the_cluster_goes_on_at_its_address() -> None:
    with LocalCluster(nodes=2, cpus_per_node=1) as cluster:
        assert stat.S_IMODE(cluster.token_file.stat().st_mode) == 0o600
        with pytest.raises(ValueError, match="dashboard=True"):
            _ = cluster.dashboard_url
        first_address = cluster.address
        with _client(cluster) as client:
            cpus, nodes, *pids = _answer(client)
            assert (cpus, nodes, len(pids)) == (2, 2, 2)
            assert cluster.worker_pids() == pids
            assert cluster.worker_pids("SomethingElse") == []
            assert cluster.kill_worker(pids[0])
            _wait(lambda: cluster.worker_pids() == pids[1:])
            assert not cluster.kill_worker(os.getpid())
            lost = cluster.nodes[0]
            cluster.kill_node(lost)
            assert lost not in cluster.nodes
            assert members([lost.session]) == []
            with pytest.raises(ValueError, match="was killed before"):
                cluster.kill_node(lost)
            cluster.add_node()
            client.kill()
        head = cluster.head.session
        cluster.restart_head()
        assert members([head]) == []
        assert cluster.address == first_address
        with _client(cluster) as client:
            assert _answer(client)[:2] == [2, 2]
            client.kill()
        sessions, folder = cluster.sessions, cluster.token_file.parent
    assert members(sessions) == []
    assert not folder.exists()


@pytest.mark.ray
def test_nothing_is_left_of_a_cluster_whose_owner_was_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", _OWNER], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        folder, *words = owner.stdout.readline().split()
        sessions = [int(word) for word in words]
        assert len(members(sessions)) > len(sessions)
        owner.send_signal(signal.SIGKILL)
    _wait(lambda: not members(sessions))
    _wait(lambda: not Path(folder).exists())


@pytest.mark.ray
def test_a_node_that_does_not_come_up_is_shown_with_what_it_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.local.START_TRIES", 2)
    with pytest.raises(NodeNotStartedError, match=r"num-cpus=-1.*\n(.*\n)*.*Error"):
        LocalCluster(nodes=0, head_cpus=-1)
