"""The pool on real Ray clusters: workers that hang, nodes that come, sweeps that wait for a node."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.local import LocalCluster
from cluster.processes import process_of
from orchestrator.app.roots import planned_trials
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.reader import MetaDatasetReader
from orchestrator.metadataset.verify import verify

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

JOINED = re.compile(r"worker joined worker=(\S+) host=\S+ pid=(\d+)")


def a_sweep(path: Path, **changes: Any) -> Path:
    content = {
        "name": "pool",
        "base_model": "rehearsal:0.1",
        "tasks": ["worlds:towns"],
        "configs": 12,
        "epochs": 10,
    }
    path.write_text(yaml.safe_dump(content | changes))
    return path


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start the command line; what still runs after the test is killed."""
    running: list[subprocess.Popen[str]] = []

    def begin(*arguments: str | Path, environment: dict[str, str] | None = None) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", "orchestrator.cli", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        )
        running.append(process)
        return process

    yield begin
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


def joined(root: Path) -> list[tuple[str, int]]:
    """The workers that have joined, and their process ids, by the driver's log."""
    log = RootLayout(root).driver_log
    text = log.read_text() if log.exists() else ""
    return [(name, int(pid)) for name, pid in JOINED.findall(text)]


def wait_until(condition: Callable[[], object], process: "subprocess.Popen[str]") -> None:
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)


def assert_certified(root: Path) -> None:
    certificate = verify(root, planned=planned_trials(root))
    assert certificate.ok, certificate.render()


def assert_dies(pid: int, *, within_s: float = 20) -> None:
    """Fail unless a process is dead soon; what Ray has killed may wait a while for whoever buries orphans."""
    deadline_s = time.monotonic() + within_s
    while (process := process_of(pid)) is not None and process.is_alive:
        if time.monotonic() > deadline_s:
            os.kill(pid, signal.SIGKILL)
            pytest.fail(f"{process} lives on")
        time.sleep(0.05)


def test_worker_that_stands_still_is_replaced_and_the_sweep_goes_on(tmp_path: Path, start: Start) -> None:
    root = tmp_path / "root"
    spec = a_sweep(tmp_path / "s.yaml", configs=2, workers={"max_count": 1, "heartbeat_s": 5})
    driver = start("run", spec, "--root", root)
    wait_until(lambda: len(MetaDatasetReader(root).curves(columns=["epoch"])) >= 2, driver)
    [(name, pid)] = joined(root)
    os.kill(pid, signal.SIGSTOP)
    output, _ = driver.communicate(timeout=120)
    assert driver.returncode == 0, output
    assert len(joined(root)) == 2
    attempts = MetaDatasetReader(root).attempts()
    lost = attempts[attempts["event"] == "lost"]
    assert list(lost["worker"]) == [name]
    assert "no answer for 5 s" in lost["detail"].iloc[0]
    assert_dies(pid)
    assert_certified(root)


def test_nodes_that_join_are_used_and_a_sweep_waits_for_the_first(tmp_path: Path, start: Start) -> None:
    root = tmp_path / "root"
    spec = a_sweep(tmp_path / "s.yaml", workers={"start_timeout_s": 60})
    with LocalCluster(nodes=0, cpus_per_node=1) as cluster:
        driver = start(
            "run", spec, "--root", root, "--address", cluster.address, environment=cluster.environment
        )
        wait_until(lambda: RootLayout(root).driver_log.exists(), driver)
        cluster.add_node()
        wait_until(lambda: len(joined(root)) == 1, driver)
        cluster.add_node()
        wait_until(lambda: len(joined(root)) == 2, driver)
        output, _ = driver.communicate(timeout=120)
    assert driver.returncode == 0, output
    workers = set(MetaDatasetReader(root).attempts().query("event == 'finished'")["worker"])
    assert workers == {name for name, _ in joined(root)}
    assert_certified(root)


def test_lost_head_ends_the_driver_in_a_sentence_and_a_new_cluster_continues(
    tmp_path: Path, start: Start
) -> None:
    root = tmp_path / "root"
    with LocalCluster(nodes=1, cpus_per_node=2) as cluster:
        arguments = ("--address", cluster.address)
        spec = a_sweep(tmp_path / "s.yaml", epochs=30)
        driver = start("run", spec, "--root", root, *arguments, environment=cluster.environment)
        wait_until(lambda: len(MetaDatasetReader(root).curves(columns=["epoch"])) >= 2, driver)
        os.killpg(cluster.head.session, signal.SIGKILL)
        output, _ = driver.communicate(timeout=120)
        assert driver.returncode == 3, output
        assert f"the Ray head at {cluster.address} has not answered" in output
        assert "Traceback" not in output
    driver = start("resume", root)
    output, _ = driver.communicate(timeout=120)
    assert driver.returncode == 0, output
    assert_certified(root)


def test_cluster_without_room_is_refused_with_what_it_has(tmp_path: Path, start: Start) -> None:
    spec = a_sweep(tmp_path / "s.yaml", workers={"gpus": 1})
    driver = start("run", spec, "--root", tmp_path / "root")
    output, _ = driver.communicate(timeout=120)
    assert driver.returncode == 2
    assert "needs 1 CPUs and 1 GPUs, and no node has that: 1 node" in output
    assert "Traceback" not in output
