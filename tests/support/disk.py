"""A small disk of its own, to fill up and to make read-only: a tmpfs.

Mounted directly where the tests run as root, else in a user and mount namespace that a sleeping process holds
open; commands then enter it, and the test looks in through ``/proc``.
"""

import contextlib
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path


class Disk:
    """A mounted tmpfs.

    Args:
        holder: The process whose namespaces it is mounted in; None: our own.
        folder: Where it is mounted there.
    """

    def __init__(self, holder: int | None, folder: Path) -> None:
        self._holder = holder
        self.inside = folder
        """Its path for commands."""
        self.outside = folder if holder is None else Path(f"/proc/{holder}/root{folder}")
        """Its path for the test."""

    def entered(self, command: Sequence[str | Path]) -> list[str]:
        """Return a command that sees the disk."""
        if self._holder is None:
            return [str(part) for part in command]
        enter = ["nsenter", "--target", str(self._holder), "--user", "--mount", "--preserve-credentials"]
        return [*enter, *map(str, command)]

    def run(self, *command: str | Path) -> bool:
        done = subprocess.run(self.entered(command), capture_output=True, check=False)
        return done.returncode == 0

    def fill(self) -> None:
        """Leave not a byte; another may make room and use it meanwhile."""
        with contextlib.suppress(OSError), open(self.outside / "filler", "ab", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))

    def make_room(self) -> None:
        (self.outside / "filler").unlink()

    def set_writable(self, is_writable: bool) -> None:
        # A process that was killed lets go of its files a moment later.
        for _ in range(100):
            if self.run("mount", "-o", f"remount,{'rw' if is_writable else 'ro'}", self.inside):
                return
            time.sleep(0.1)
        raise RuntimeError(f"{self.inside} can't be mounted anew: a process keeps a file open for writing")


@contextlib.contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[Disk | None]:
    """Mount a tmpfs on a new folder; yield None where no one may mount."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder)]
    disk = Disk(None, folder)
    if disk.run(*mount):
        try:
            yield disk
        finally:
            disk.run("umount", "--lazy", folder)
        return
    with _held_namespaces() as holder:
        disk = Disk(holder, folder)
        yield disk if holder is not None and disk.run(*mount) else None


@contextlib.contextmanager
def _held_namespaces() -> Iterator[int | None]:
    """Hold a user and a mount namespace open; they and their mounts go with the process that does."""
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", "echo; exec sleep infinity"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as holder:
        assert holder.stdout is not None
        try:
            yield holder.pid if holder.stdout.readline() else None
        finally:
            holder.kill()
