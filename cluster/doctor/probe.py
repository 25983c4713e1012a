"""Asks a Ray cluster about itself; a process of its own, to be given up when Ray does not answer.

Reads one line of JSON with the ``address`` from standard input, writes one line to standard output: what it
learned, or ``trouble``.
"""

import contextlib
import json
import platform
import sys
from typing import Any

from cluster.connection import connected
from cluster.jobclient import JobClient, explained, server_address
from orchestrator.contracts import InputError

# After cluster.connection, which says how Ray authenticates before Ray is imported.
import ray  # isort: skip


def ask(address: str) -> dict[str, Any]:
    """Return what a cluster says.

    Args:
        address: ``HOST:PORT`` or ``auto`` of a cluster, or the URL of a job server.

    Returns:
        ``ray`` and, but for a job server, ``python`` and ``nodes``; or ``trouble``.
    """
    try:
        return _ask_job_server(address) if "://" in address else _ask_cluster(address)
    except InputError as err:
        return {"trouble": str(err)}


def _ask_cluster(address: str) -> dict[str, Any]:
    with connected(address):
        nodes = [
            {"is_alive": node["Alive"], **{kind: node["Resources"].get(kind, 0.0) for kind in ("CPU", "GPU")}}
            for node in ray.nodes()
        ]
    # Ray connects to a cluster of its own version and Python alone.
    return {"ray": ray.__version__, "python": platform.python_version(), "nodes": nodes}


def _ask_job_server(address: str) -> dict[str, Any]:
    url = server_address(address)
    client = JobClient(url)
    with explained(url):
        client.list_jobs()  # the version is told without a token, this is not
        return {"ray": client.ray_version()}


def main() -> None:
    """Answer one question."""
    address = json.loads(sys.stdin.readline())["address"]
    with contextlib.redirect_stdout(sys.stderr):
        answer = ask(address)
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
