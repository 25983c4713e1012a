"""Whether a Ray that runs on this machine can be used by whoever reaches it.

Ray's servers listen on all interfaces. What guards them is the token, and whether one is asked for stands in
their environment, which their own user can read.
"""

import ipaddress
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cluster.doctor.finding import Finding, Status
from cluster.doctor.kernel import Kernel

_NAME = "Ray's ports"
_PROGRAMS = ("gcs_server", "raylet")
_DASHBOARD = "ray/dashboard/dashboard.py"
_LISTENS = "0A"
"""The kernel's number of the state."""
_SHOWN = 4


@dataclass(frozen=True, slots=True)
class _Server:
    pid: int
    program: str
    asks_for_token: bool
    ports: tuple[int, ...]
    """At which it can be reached from other machines."""


def ports(kernel: Kernel) -> Finding:
    """Look for Ray's servers on this machine that listen beyond it and ask for no token.

    Args:
        kernel: Where processes and sockets are listed.

    Returns:
        A failure where there is one.
    """
    if not kernel.proc.is_dir():
        return Finding(_NAME, Status.NOT_CHECKED, "this system does not list its processes as Linux does")
    listening = {**_listening(kernel.proc / "net" / "tcp"), **_listening(kernel.proc / "net" / "tcp6")}
    unseen: list[int] = []
    servers = list(_servers(kernel.proc, listening, unseen))
    open_ones = [server for server in servers if server.ports and not server.asks_for_token]
    if open_ones:
        told = ", ".join(
            f"{server.program} (process {server.pid}) at {_listed(server.ports)}" for server in open_ones
        )
        return Finding(
            _NAME,
            Status.FAILED,
            f"listen beyond this machine and ask for no token: {told}",
            "stop that Ray and start it with RAY_AUTH_MODE=token: whoever reaches it runs code as its user",
        )
    if unseen:
        return Finding(_NAME, Status.NOT_CHECKED, f"Ray runs here as another user (process {unseen[0]})")
    if not servers:
        return Finding(_NAME, Status.OK, "no Ray runs on this machine")
    reached = sorted({port for server in servers for port in server.ports})
    if not reached:
        return Finding(_NAME, Status.OK, "listen on this machine only")
    return Finding(_NAME, Status.OK, f"ask for a token at {_listed(tuple(reached))}")


def _servers(proc: Path, listening: dict[str, int], unseen: list[int]) -> Iterator[_Server]:
    """Yield Ray's servers; note the ids of those that can't be looked into."""
    for folder in proc.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            program = _program((folder / "cmdline").read_bytes())
            if program is None:
                continue
            environment = (folder / "environ").read_bytes().split(b"\0")
            sockets = [os.readlink(handle) for handle in (folder / "fd").iterdir()]
        except PermissionError:
            unseen.append(int(folder.name))
            continue
        except OSError:  # it ended meanwhile
            continue
        found = (re.fullmatch(r"socket:\[(\d+)\]", socket) for socket in sockets)
        ports = sorted({listening[match[1]] for match in found if match and match[1] in listening})
        asks = b"RAY_AUTH_MODE=token" in environment
        yield _Server(int(folder.name), program, asks_for_token=asks, ports=tuple(ports))


def _program(command: bytes) -> str | None:
    words = command.decode(errors="replace").split("\0")
    if (name := Path(words[0]).name) in _PROGRAMS:
        return name
    return "dashboard" if any(word.endswith(_DASHBOARD) for word in words) else None


def _listening(table: Path) -> dict[str, int]:
    """Return the ports at which someone listens beyond loopback, by the socket's number."""
    try:
        lines = table.read_text().splitlines()[1:]
    except OSError:
        return {}
    found = {}
    for line in lines:
        fields = line.split()
        host, _, port = fields[1].rpartition(":")
        if fields[3] == _LISTENS and not _address(host).is_loopback:
            found[fields[9]] = int(port, 16)
    return found


def _address(digits: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return an address that the kernel wrote as words of four bytes, each the lowest byte first."""
    words = [bytes.fromhex(digits[start : start + 8])[::-1] for start in range(0, len(digits), 8)]
    address = ipaddress.ip_address(b"".join(words))
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address


def _listed(numbers: tuple[int, ...]) -> str:
    shown = ", ".join(str(number) for number in numbers[:_SHOWN])
    return shown if len(numbers) <= _SHOWN else f"{shown} and {len(numbers) - _SHOWN} more"
