"""The driver of a tortured sweep: a process of its own, begun, killed and begun again.

Owned by the torture and gone with it: it is in a session of its own, which a warden ends if the owner dies.
"""

import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from cluster.processes import end_sessions, process_of
from cluster.warden import Warden

_POLL_S = 0.05
_TAIL_LINES = 30
_CHECKOUT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverEnd:
    """How a driver that was not killed came to its end."""

    exit_code: int
    tail: str
    """The end of what it printed."""


class DriverProcess:
    """`foretune run`, and `foretune resume` ever after, one process at a time.

    Args:
        spec: The sweep's spec, a file.
        root: The sweep's root.
        logs: Folder for what each driver prints.
        warden: Ends the driver should this process die.
        address: The cluster; None: an embedded one.
        environment: Of the process.
    """

    def __init__(
        self,
        spec: Path,
        root: Path,
        *,
        logs: Path,
        warden: Warden,
        address: str | None,
        environment: Mapping[str, str],
    ) -> None:
        self._spec, self._root, self._logs = spec, root, logs
        self._warden, self._address, self._environment = warden, address, environment
        self._process: subprocess.Popen[bytes] | None = None
        self._exit_code: int | None = None
        self.started = 0
        """Drivers begun so far."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reap()

    def start(self) -> None:
        """Begin the sweep, or continue it; the driver before must have ended."""
        if self._process is not None:
            raise ValueError(f"driver {self.started} has not ended; kill it first, or take its end")
        verb = ("run", str(self._spec), "--root") if self.started == 0 else ("resume",)
        at = ("--address", self._address) if self._address is not None else ()
        self.started += 1
        command: Sequence[str] = (
            *(sys.executable, "-m", "orchestrator.cli", "--verbose"),
            *(*verb, str(self._root), *at),
        )
        with self._log().open("wb") as output:
            self._process = subprocess.Popen(
                command,
                cwd=_CHECKOUT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._exit_code = None
        self._warden.watch(self._process.pid)

    def is_alive(self) -> bool:
        """Whether the driver's process is there."""
        if self._process is None or self._exit_code is not None:
            return False
        # Not by `poll`: to read the exit status is to let go of the session's number.
        process = process_of(self._process.pid)
        return process is not None and process.is_alive

    def kill(self) -> bool:
        """Kill the driver; False if it had ended by itself, which ``take_end`` then tells."""
        if self._process is None or not self.is_alive() or self._reap() != -signal.SIGKILL:
            return False
        self._process = None
        return True

    def take_end(self) -> DriverEnd:
        """Return how the driver ended, and let the next one start."""
        if self._process is None or self.is_alive():
            raise ValueError(f"driver {self.started} is at work, or was killed; it has no end of its own")
        end = DriverEnd(exit_code=self._reap(), tail=self.tail())
        self._process = None
        return end

    def tail(self) -> str:
        """Return the end of what the driver has printed."""
        return "\n".join(self._log().read_text(errors="replace").splitlines()[-_TAIL_LINES:])

    def wait(self) -> DriverEnd:
        """Wait until the driver ends by itself."""
        while self.is_alive():
            time.sleep(_POLL_S)
        return self.take_end()

    def _reap(self) -> int:
        """End what lives of the driver, let go of its session's number, return its exit code."""
        if self._process is not None and self._exit_code is None:
            end_sessions([self._process.pid])
            self._warden.forget(self._process.pid)
            self._exit_code = self._process.wait()
        return self._exit_code or 0

    def _log(self) -> Path:
        return self._logs / f"driver-{self.started:03d}.log"
