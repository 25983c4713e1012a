"""What a machine has for a node: cores, threads, memory, shared memory, disk, open files."""

import os
import resource
import shutil
from collections.abc import Mapping
from pathlib import Path

from cluster import EMBEDDED_STORE_BYTES
from cluster.doctor.finding import Finding, Status, size
from cluster.doctor.kernel import Kernel, container_cpu_quota, cpu_quota, memory

_LEAST_MEMORY_BYTES = 3 * 2**29
"""An embedded Ray takes about 600 MB, each trainer 420 MB before a model."""
_MOST_USED = 0.9
"""Ray kills workers once 95 % of a node's memory is used."""
_LEAST_OPEN_FILES = 4096
"""Below that Ray itself warns."""
_WANTED_OPEN_FILES = 65536
"""Up to which Ray raises the limit by itself, if it may."""
_LEAST_FREE_BYTES = 2**28
_ROOMY_BYTES = 5 * 2**30
_SOCKET_PATH_BYTES = 107
_BELOW_TEMPORARY = len("/ray/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store.1")


def cpus(kernel: Kernel, *, counted: int | None = None, bound_to: int | None = None) -> Finding:
    """Tell how many cores we may use of those that are there.

    Args:
        kernel: Where limits are read.
        counted: Cores of the machine; None: what Python counts.
        bound_to: Cores that this process may run on; None: what the kernel says.

    Returns:
        A warning where Ray, which knows a container's quota and else counts the machine's cores, would begin
        more workers than there are cores for.
    """
    counted = counted or os.cpu_count() or 1
    if bound_to is None:
        bound_to = _bound_to() or counted
    quota = cpu_quota(kernel)
    allowed = min(float(bound_to), quota if quota is not None else bound_to)
    if allowed >= counted:
        return Finding("CPUs", Status.OK, f"{counted} cores, all to be used")
    reasons = [f"bound to {bound_to}"] if bound_to < counted else []
    reasons += [f"control group's quota {quota:g}"] if quota is not None and quota < counted else []
    text = f"{allowed:g} of {counted} cores may be used ({', '.join(reasons)})"
    rays = min(counted, int(container_cpu_quota(kernel) or counted))
    whole = max(1, int(allowed))
    if whole >= rays:
        return Finding("CPUs", Status.OK, text)
    return Finding(
        "CPUs",
        Status.WARNING,
        text,
        f"Ray counts {rays}: start nodes with `ray start --num-cpus={whole}`, or set "
        f"`workers.max_count: {whole}` in the sweep",
    )


def threads(environment: Mapping[str, str], cores: int | None = None) -> Finding:
    """Tell whether OMP_NUM_THREADS fits the cores; a worker has its own threads whatever it says.

    Args:
        environment: Variables.
        cores: Cores that may be used; None: what the kernel says.

    Returns:
        A warning where it is no number, or above the cores.
    """
    name = "OMP_NUM_THREADS"
    if cores is None:
        cores = _bound_to() or os.cpu_count() or 1
    given = environment.get(name)
    if not given:
        return Finding(
            name, Status.OK, "not set: commands use all cores, each worker as many as it asked for"
        )
    outermost = given.split(",")[0].strip()  # further numbers are for nested loops
    if not outermost.isdigit() or int(outermost) < 1:
        return Finding(name, Status.WARNING, f"{given!r} is no number of threads", f"unset {name}")
    if int(outermost) > cores:
        advice = f"set it to at most {cores}, or unset it"
        return Finding(name, Status.WARNING, f"{given} threads on {cores} cores wait for one another", advice)
    return Finding(name, Status.OK, given)


def memory_found(kernel: Kernel) -> Finding:
    """Tell how much memory there is, and whether it is enough to begin."""
    found = memory(kernel)
    if found is None:
        return Finding("memory", Status.NOT_CHECKED, f"{kernel.proc}/meminfo tells nothing")
    whose = " (limit of the control group)" if found.is_limited else ""
    text = f"{size(found.available)} available of {size(found.total)}{whose}"
    if found.available < _LEAST_MEMORY_BYTES:
        return Finding(
            "memory",
            Status.WARNING,
            text,
            f"make room: Ray and one worker take about {size(_LEAST_MEMORY_BYTES)} before a model is loaded",
        )
    if found.available < (1 - _MOST_USED) * found.total:
        return Finding(
            "memory",
            Status.WARNING,
            text,
            "make room: Ray kills workers when 95 % of a node's memory is used",
        )
    return Finding("memory", Status.OK, text)


def shared_memory(folder: Path = Path("/dev/shm")) -> Finding:
    """Tell whether Ray's object store fits into shared memory."""
    name = str(folder)
    if not folder.is_dir():
        return Finding(name, Status.NOT_CHECKED, "is not there; Ray keeps its object store elsewhere")
    free = shutil.disk_usage(folder).free
    if free < EMBEDDED_STORE_BYTES:
        return Finding(
            name,
            Status.WARNING,
            f"{size(free)} free; an object store of ours takes {size(EMBEDDED_STORE_BYTES)}",
            "in a container give it more, such as `docker run --shm-size=1g` or an emptyDir of medium "
            "Memory: Ray's objects go to a disk otherwise",
        )
    return Finding(name, Status.OK, f"{size(free)} free")


def disk(name: str, folder: Path, *, wanted_for: str) -> Finding:
    """Tell how much room a folder has, and whether it can be written.

    Args:
        name: What the finding is called.
        folder: Need not exist: the nearest that does is looked at.
        wanted_for: What would fail, in the advice.

    Returns:
        A failure where it can't be written or is full, a warning where it will be soon.
    """
    place = nearest(folder)
    if not os.access(place, os.W_OK | os.X_OK):
        advice = f"let this user write {place}, or name another folder: {wanted_for}"
        return Finding(name, Status.FAILED, f"{folder} can't be written", advice)
    usage = os.statvfs(place)
    free, whole = usage.f_bavail * usage.f_frsize, usage.f_blocks * usage.f_frsize
    text = f"{size(free)} free of {size(whole)} at {folder}"
    if usage.f_files and usage.f_favail == 0:
        advice = f"remove files: the file system has no inode left, {wanted_for}"
        return Finding(name, Status.FAILED, f"{text}, and no more file can be made", advice)
    if free < _LEAST_FREE_BYTES:
        return Finding(name, Status.FAILED, text, f"make room: {wanted_for}")
    if free < _ROOMY_BYTES:
        return Finding(name, Status.WARNING, text, f"make room before a long sweep: {wanted_for}")
    return Finding(name, Status.OK, text)


def temporary_folder(environment: Mapping[str, str]) -> Finding:
    """Tell whether Ray can keep its sockets, logs and spilled objects where it wants to."""
    name = "Ray's folder"
    place = environment.get("RAY_TMPDIR") or environment.get("TMPDIR") or "/tmp"
    length = len(os.fsencode(place.rstrip("/"))) + _BELOW_TEMPORARY
    if length > _SOCKET_PATH_BYTES:
        return Finding(
            name,
            Status.FAILED,
            f"{place} makes paths of sockets {length} bytes long, and {_SOCKET_PATH_BYTES} are possible",
            "set RAY_TMPDIR to a short local folder, such as /tmp",
        )
    found = disk(name, Path(place) / "ray", wanted_for="Ray's sockets, logs and spilled objects lie there")
    usage = shutil.disk_usage(nearest(Path(place)))
    if found.status is Status.OK and usage.free < 0.05 * usage.total:
        advice = "make room, or set RAY_TMPDIR: Ray takes a disk that is 95 % full for a full one"
        return Finding(name, Status.WARNING, found.found, advice)
    return found


def open_files(limits: tuple[int, int] | None = None) -> Finding:
    """Tell how many files and sockets a process may hold open.

    Args:
        limits: The soft and the hard limit; None: this process'.

    Returns:
        A warning where Ray can't raise it as far as it wants.
    """
    soft, hard = limits or resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        return Finding("open files", Status.OK, f"{_limit(soft)} a process, as many as Ray asks for")
    reached = max(soft, min(hard, _WANTED_OPEN_FILES)) if soft != resource.RLIM_INFINITY else hard
    text = f"{_limit(soft)} a process, at most {hard}"
    if reached < _LEAST_OPEN_FILES:
        advice = f"raise the hard limit (`ulimit -Hn`, limits.conf, LimitNOFILE=) to {_WANTED_OPEN_FILES}"
        return Finding("open files", Status.WARNING, text, advice)
    return Finding("open files", Status.OK, text)


def _bound_to() -> int | None:
    """Return how many cores this process may run on; None where the system does not tell."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def _limit(count: int) -> str:
    return "unlimited" if count == resource.RLIM_INFINITY else str(count)


def nearest(folder: Path) -> Path:
    """Return a folder, or the nearest above it that exists."""
    place = folder.absolute()
    while not place.is_dir() and place != place.parent:
        place = place.parent
    return place
