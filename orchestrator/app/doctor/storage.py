"""Whether a root's file system does what the ledger rests on, and how fast."""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from cluster.doctor import Finding, Status
from cluster.doctor.kernel import Kernel, Mount, mount_of
from cluster.doctor.machine import disk, nearest
from orchestrator.contracts import RootInUseError
from orchestrator.metadataset.durable import sync_folder, write_durably
from orchestrator.metadataset.lock import RootLock

_NETWORKED = (
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "afs",
    "beegfs",
    "ceph",
    "gpfs",
    "lustre",
    "glusterfs",
)
_IN_MEMORY = ("tmpfs", "ramfs")
_LOCKS_HERE_ONLY = ("local_lock=flock", "local_lock=all", "nolock", "localflock")
"""Mount options by which a lock holds off this machine's processes alone."""
_SYNCS = 16
_SYNCS_FOR_S = 2.0
_SLOW_S = 0.1
_ROW = bytes(4096)


def root_found(root: Path | None, kernel: Kernel) -> list[Finding]:
    """Try a root's file system, in a folder of its own there that is removed again.

    Args:
        root: A sweep's folder, which need not exist; None: nothing is tried.
        kernel: Where mounts are listed.

    Returns:
        What the ledger's steps came to, which file system it is, and the room that it has.
    """
    if root is None:
        return [Finding("root", Status.NOT_CHECKED, "none named", "name a sweep's folder with --root")]
    if root.exists() and not root.is_dir():
        return [Finding("root", Status.FAILED, f"{root} is a file", "name a folder, or one that can be made")]
    place = nearest(root)
    room = disk("root's disk", root, wanted_for="curves, checkpoints and adapters lie in the root")
    kind = file_system(mount_of(place.resolve(), kernel), root)
    return [ledger_steps(place), kind, room]


def ledger_steps(folder: Path, *, clock: Callable[[], float] = time.perf_counter) -> Finding:
    """Do in a folder what the ledger does: append and fsync, replace by a rename, lock.

    Args:
        folder: Exists.
        clock: Seconds, rising.

    Returns:
        A failure that names the step that did not work; a warning where an fsync takes long.
    """
    step = "make a folder"
    try:
        with tempfile.TemporaryDirectory(prefix=".foretune-doctor-", dir=folder) as name:
            aside = Path(name)
            step = "fsync"
            syncs_s = _timed_syncs(aside / "log", clock)
            step = "replace a file by a rename"
            for content in (b"old", b"new"):
                write_durably(aside / "part", content)
            if (aside / "part").read_bytes() != b"new":
                return _broken(folder, step, "the old content is still there")
            step = "lock"
            if not _locks(aside / "lock"):
                return _broken(folder, step, "two have the lock at once")
            step = "remove a folder"
            sync_folder(aside)
    except OSError as err:
        return _broken(folder, step, err.strerror or str(err))
    middle_s = statistics.median(syncs_s)
    middle_ms, most_ms = 1000 * middle_s, 1000 * max(syncs_s)
    text = f"{folder} writes, renames and locks; an fsync takes {middle_ms:.1f} ms (at most {most_ms:.1f})"
    if middle_s > _SLOW_S:
        advice = "a faster disk: every row is acknowledged after an fsync, which many rows share"
        return Finding("root", Status.WARNING, text, advice)
    return Finding("root", Status.OK, text)


def file_system(mount: Mount | None, root: Path) -> Finding:
    """Tell what is to be known of a root's kind of file system.

    Args:
        mount: What the root lies on.
        root: The sweep's folder.

    Returns:
        A warning where it does not outlive the machine or the container, or does not lock between machines.
    """
    name = "root's file system"
    if mount is None:
        return Finding(name, Status.NOT_CHECKED, "the kernel lists no mounts")
    where = f"{mount.kind} at {mount.point}"
    if mount.kind in _IN_MEMORY:
        return Finding(
            name,
            Status.WARNING,
            f"{where}: in memory",
            f"put {root} on a disk: this is gone with the machine",
        )
    if mount.kind == "overlay":
        advice = f"mount a volume and put {root} there: this layer is gone with its container"
        return Finding(name, Status.WARNING, f"{where}: the container's own layer", advice)
    if local := sorted(mount.options.intersection(_LOCKS_HERE_ONLY)):
        advice = (
            "mount it without that option: a driver on another machine would not see that the root is in use"
        )
        return Finding(name, Status.WARNING, f"{where}, mounted {local[0]}", advice)
    if mount.kind.startswith("fuse."):
        advice = "know what it is: a bucket that looks like a folder renames by copying, and locks nobody out"
        return Finding(name, Status.WARNING, f"{where}: a program's", advice)
    if mount.kind in _NETWORKED:
        return Finding(name, Status.OK, f"{where}: on the network, as nodes need that share a root")
    return Finding(name, Status.OK, f"{where}: this machine's own; a cluster's nodes must all see the root")


def _timed_syncs(path: Path, clock: Callable[[], float]) -> list[float]:
    times_s: list[float] = []
    with open(path, "ab") as log:
        while len(times_s) < _SYNCS and sum(times_s) < _SYNCS_FOR_S:
            log.write(_ROW)
            log.flush()
            began_s = clock()
            os.fsync(log.fileno())
            times_s.append(clock() - began_s)
    return times_s


def _locks(path: Path) -> bool:
    """Return whether a lock that is held is refused to a second."""
    first = RootLock(path, path.parent)
    try:
        RootLock(path, path.parent).release()
    except RootInUseError:
        return True
    finally:
        first.release()
    return False


def _broken(folder: Path, step: str, why: str) -> Finding:
    advice = "put the root where files can be synced, renamed over and locked (flock): a local disk, NFS 4"
    return Finding("root", Status.FAILED, f"{folder} can't {step}: {why}", advice)
