"""One worker in the driver's own process: no cluster is needed, and what kills the worker kills both."""

import logging
from pathlib import Path

from orchestrator.app.workforce import Answer, WorkerSaid, WorkerUp
from orchestrator.contracts import Command, WorkerId
from workers.session import WorkerSession

CLOSE_S = 60.0
"""How long to wait for the epoch in hand of a worker that is no longer wanted."""

_OWN = WorkerId("own-process")

logger = logging.getLogger(__name__)


class OwnProcess:
    """A ``Workforce`` of one, whose training runs in a thread of this process.

    Args:
        root: The sweep's root.
        is_rehearsal: Whether it only goes through the motions; see ``workers.rehearsal``.
    """

    def __init__(self, root: Path, *, is_rehearsal: bool) -> None:
        self._session = _session(root, is_rehearsal=is_rehearsal)
        self._outbox: list[Command] = []
        self._is_known = False

    def __len__(self) -> int:
        return 1

    def send(self, worker_id: WorkerId, command: Command) -> None:
        """Queue a command for the next ``poll``."""
        self._outbox.append(command)

    def poll(self, timeout_s: float) -> list[Answer]:
        """Deliver what is queued and return what the worker said, waiting so long for the first of it."""
        if not self._is_known:
            self._is_known = True
            return [WorkerUp(_OWN, self._session.describe())]
        commands, self._outbox = self._outbox, []
        return [WorkerSaid(_OWN, self._session.exchange(commands, timeout_s))]

    def close(self) -> None:
        """End the worker, after the epoch in hand."""
        try:
            self._session.close(CLOSE_S)
        except TimeoutError as err:
            logger.warning("worker left behind reason=%s", err)


def _session(root: Path, *, is_rehearsal: bool) -> WorkerSession:
    if is_rehearsal:
        from workers.rehearsal import rehearsal_session

        return rehearsal_session(str(root), _OWN)
    from workers.resident import resident_session

    return resident_session(str(root), _OWN)
