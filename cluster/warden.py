"""A process that outlives its owner by moments: it ends the sessions that the owner could not end itself.

Started by the owner with one end of a pipe as its standard input. The owner writes ``+SESSION`` and
``-SESSION`` lines; when the pipe closes, by whatever death, the sessions left are killed and the folder
is removed. A parent-death signal would not do: it is tied to the thread that started the child, and children
of children don't have it.
"""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from cluster.processes import end_sessions


class Warden:
    """The owner's end of the pipe.

    Args:
        folder: Removed with the owner's death.
    """

    def __init__(self, folder: Path) -> None:
        checkout = str(Path(__file__).resolve().parents[1])
        path = os.pathsep.join(filter(None, (checkout, os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "cluster.warden", str(folder)],
            stdin=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
        )

    def watch(self, session: int) -> None:
        """End this session should the owner die."""
        self._tell(f"+{session}\n")

    def forget(self, session: int) -> None:
        """The owner has ended this session; its number may be another's from now on."""
        self._tell(f"-{session}\n")

    def close(self) -> None:
        """Let the warden go; what it still watches is ended."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()

    def _tell(self, line: str) -> None:
        if self._process.stdin is None or self._process.poll() is not None:
            raise RuntimeError(f"the warden of this cluster has ended with {self._process.returncode}")
        self._process.stdin.write(line.encode())
        self._process.stdin.flush()


def _main(folder: Path) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sessions: set[int] = set()
    for line in sys.stdin:
        if not line.endswith("\n"):
            break
        (sessions.add if line[0] == "+" else sessions.discard)(int(line[1:]))
    end_sessions(sessions)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
