import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from cluster.doctor import Status
from cluster.doctor.reach import cluster, silent, unasked
from workers.standby import Standby

NODE = {"is_alive": True, "CPU": 16.0, "GPU": 4.0}
TOLD = {"ray": "2.60.0", "python": "3.11.7", "nodes": [NODE, NODE]}


def test_cluster_is_told_in_what_workers_find_there() -> None:
    found = cluster("head:6379", TOLD)
    assert found.status is Status.OK
    assert found.found.startswith("head:6379: 2 nodes with 32 CPUs and 8 GPUs; Ray 2.60.0")


def test_cluster_that_lost_a_node_is_warned_of_and_counts_it_no_more() -> None:
    found = cluster("head:6379", {**TOLD, "nodes": [NODE, NODE | {"is_alive": False}]})
    assert found.status is Status.WARNING
    assert "1 node with 16 CPUs and 4 GPUs" in found.found
    assert "1 left it" in found.found


def test_head_alone_without_cpus_can_run_nothing() -> None:
    found = cluster("head:6379", {**TOLD, "nodes": [{"is_alive": True, "CPU": 0.0, "GPU": 0.0}]})
    assert found.status is Status.FAILED


def test_cluster_that_is_not_named_is_not_checked() -> None:
    assert unasked().status is Status.NOT_CHECKED
    assert silent("head:6379", "no word").status is Status.FAILED


def asked(address: str) -> dict[str, Any]:
    """Ask as the doctor does, in another process: Ray keeps in mind the first token that it is told."""
    standby = Standby("cluster.doctor.probe")
    try:
        standby.ask({"address": address})
        told: dict[str, Any] = standby.answer(timeout_s=60)
        return told
    finally:
        standby.end()


@pytest.mark.parametrize("scheme", ["", "http://"])
def test_address_where_nobody_listens_is_told_with_what_to_do(scheme: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"{scheme}127.0.0.1:{free.getsockname()[1]}"
    found = cluster(address, asked(address))
    assert found.status is Status.FAILED
    assert address in found.found
    assert "`ray start --head` printed" in (found.advice or "")


@contextmanager
def job_server(*, status: int) -> Iterator[str]:
    """Yield the address of a server that tells its version to everyone, and its jobs with a status."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_version = self.path == "/api/version"
            content = {"version": "4", "ray_version": "2.59.1", "ray_commit": "x"} if is_version else []
            self.send_response(200 if is_version else status)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        def log_message(self, format: str, *_arguments: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of-another-cluster")


def test_job_server_is_told_with_its_version_which_need_not_be_ours(token: None) -> None:
    with job_server(status=200) as address:
        found = cluster(address, asked(address))
    assert found.status is Status.OK
    assert found.found == f"the job server at {address} takes jobs; it runs Ray 2.59.1"


@pytest.mark.parametrize("status", [401, 403])
def test_job_server_that_refuses_our_token_fails_with_where_to_put_the_right_one(
    status: int, token: None
) -> None:
    with job_server(status=status) as address:
        found = cluster(address, asked(address))
    assert found.status is Status.FAILED
    assert "RAY_AUTH_TOKEN" in (found.advice or "")
