"""What Linux tells of this machine and of the group of processes we belong to: limits, memory, mounts.

Limits of a control group hold for the groups within it: the tightest on the way up counts. Both versions of
control groups are read. In a container the way that ``/proc`` names may not exist; its own group is then the
topmost there is.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_UNLIMITED = 2**60
"""Version 1 writes about 2^63 where there is no limit."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """Where the kernel tells about itself."""

    proc: Path = Path("/proc")
    cgroups: Path = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory that processes like ours can have, in bytes."""

    total: int
    available: int
    is_limited: bool
    """Whether a control group allows less than the machine has."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted file system."""

    point: Path
    kind: str
    """The kernel's name of its type, such as ``ext4`` or ``nfs4``."""
    options: frozenset[str]


def cpu_quota(kernel: Kernel) -> float | None:
    """Return how many CPUs' time the control groups allow; None where they set no limit."""
    quotas = [quota for folder in _groups(kernel, "cpu") if (quota := _quota(folder)) is not None]
    return min(quotas, default=None)


def container_cpu_quota(kernel: Kernel) -> float | None:
    """Return the quota of the topmost group we see: a container's own, and the one that Ray reads."""
    return _quota(kernel.cgroups) or _quota(kernel.cgroups / "cpu")


def memory(kernel: Kernel) -> Memory | None:
    """Return how much memory there is; None where the kernel does not tell."""
    told = _numbers(kernel.proc / "meminfo")
    if "MemTotal:" not in told or "MemAvailable:" not in told:
        return None
    total, available = told["MemTotal:"] * 1024, told["MemAvailable:"] * 1024
    whole = total
    for folder in _groups(kernel, "memory"):
        limit, used = _memory_of(folder)
        if limit is None or limit >= whole:
            continue
        total = min(total, limit)
        available = min(available, max(0, limit - used))
    return Memory(total=total, available=available, is_limited=total < whole)


def mount_of(path: Path, kernel: Kernel) -> Mount | None:
    """Return the file system that a path lies on.

    Args:
        path: Absolute, without links; need not exist.
        kernel: Where mounts are listed.

    Returns:
        The mount; None where the kernel lists none.
    """
    found: Mount | None = None
    for mount in _mounts(kernel):
        # A later mount on the same place hides the earlier.
        if path.is_relative_to(mount.point) and (
            found is None or len(mount.point.parts) >= len(found.point.parts)
        ):
            found = mount
    return found


def _mounts(kernel: Kernel) -> Iterator[Mount]:
    for line in _read(kernel.proc / "self" / "mountinfo").split("\n"):
        own, separator, device = line.partition(" - ")
        fields, of_device = own.split(" "), device.split(" ")
        if not separator or len(fields) < 6 or len(of_device) < 3:
            continue
        options = frozenset(fields[5].split(",")) | frozenset(of_device[2].split(","))
        yield Mount(Path(_unescaped(fields[4])), of_device[0], options)


def _unescaped(text: str) -> str:
    """Return a path in which the kernel wrote blanks and backslashes as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), text)


def _groups(kernel: Kernel, controller: str) -> Iterator[Path]:
    """Yield the folders of our control group and of those around it, for a controller."""
    for line in _read(kernel.proc / "self" / "cgroup").splitlines():
        _, names, way = line.split(":", 2)
        if names and controller not in names.split(","):
            continue
        top = kernel.cgroups / names if names else kernel.cgroups
        if names and not top.is_dir():
            top = kernel.cgroups / controller
        inner = PurePosixPath(way.lstrip("/"))
        for step in (inner, *inner.parents):
            yield top / step


def _quota(folder: Path) -> float | None:
    quota, _, period = _read(folder / "cpu.max").strip().partition(" ")
    if not quota:
        quota = _read(folder / "cpu.cfs_quota_us").strip()
        period = _read(folder / "cpu.cfs_period_us").strip()
    if not (quota.isdigit() and period.isdigit() and int(period)):
        return None
    return int(quota) / int(period)


def _memory_of(folder: Path) -> tuple[int | None, int]:
    """Return a group's limit, and what of it is used and can't be had by writing files back."""
    limit = _read(folder / "memory.max").strip() or _read(folder / "memory.limit_in_bytes").strip()
    if not limit.isdigit() or int(limit) >= _UNLIMITED:
        return None, 0
    used = _read(folder / "memory.current").strip() or _read(folder / "memory.usage_in_bytes").strip()
    told = _numbers(folder / "memory.stat")
    cached = told.get("total_inactive_file", told.get("inactive_file", 0))
    return int(limit), max(0, int(used or 0) - cached)


def _numbers(path: Path) -> dict[str, int]:
    """Return the lines of a file that are a name and a number."""
    pairs = (line.split() for line in _read(path).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) >= 2 and pair[1].isdigit()}


def _read(path: Path) -> str:
    """Return a file's content; empty where there is none that we may read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
