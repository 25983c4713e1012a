"""Real processes with Ray's names listen; no Ray is needed for a port."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.doctor import Status
from cluster.doctor.kernel import Kernel
from cluster.doctor.ports import _address, ports

_LISTENER = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
server = socket.socket(family); server.bind((sys.argv[1], 0)); server.listen()
print(server.getsockname()[1], flush=True); sys.stdin.read()
"""


@contextmanager
def raylet(host: str, **variables: str) -> Iterator[tuple[int, int]]:
    """Yield the process id and the port of something that is called as Ray's server is."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    with subprocess.Popen(
        ["/opt/ray/raylet", "-c", _LISTENER, host],
        executable=sys.executable,
        env=outside | variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        if not port:
            pytest.skip(f"no one can listen at {host} here")
        try:
            yield process.pid, int(port)
        finally:
            process.send_signal(signal.SIGKILL)


def own(folder: Path, pid: int) -> Kernel:
    """Return a kernel that shows one process, and all sockets: other Rays of this machine are not ours."""
    proc = folder / "proc"
    proc.mkdir()
    (proc / str(pid)).symlink_to(f"/proc/{pid}")
    (proc / "net").symlink_to("/proc/net")
    return Kernel(proc=proc)


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_server_that_anyone_can_use_fails_with_its_port_and_process(host: str, tmp_path: Path) -> None:
    with raylet(host) as (pid, port):
        found = ports(own(tmp_path, pid))
    assert found.status is Status.FAILED
    assert f"raylet (process {pid}) at {port}" in found.found
    assert "RAY_AUTH_MODE=token" in (found.advice or "")


def test_server_that_asks_for_a_token_is_fine(tmp_path: Path) -> None:
    with raylet("0.0.0.0", RAY_AUTH_MODE="token") as (pid, port):
        found = ports(own(tmp_path, pid))
    assert found.status is Status.OK
    assert f"ask for a token at {port}" in found.found


def test_server_on_loopback_is_fine_without(tmp_path: Path) -> None:
    with raylet("127.0.0.1") as (pid, _):
        assert ports(own(tmp_path, pid)).found == "listen on this machine only"


def test_machine_without_ray_has_nothing_open(tmp_path: Path) -> None:
    assert ports(own(tmp_path, os.getpid())).found == "no Ray runs on this machine"


@given(st.ip_addresses())
def test_addresses_are_read_as_the_kernel_writes_them(address: object) -> None:
    packed: bytes = address.packed  # type: ignore[attr-defined]
    written = "".join(packed[start : start + 4][::-1].hex() for start in range(0, len(packed), 4)).upper()
    mapped = getattr(address, "ipv4_mapped", None)
    assert _address(written) == (mapped or address)
