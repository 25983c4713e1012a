"""The Ray actor around a worker session, all of it.

Ray restarts nothing and repeats nothing: retries are the scheduler's. The driver names the resources with
``.options(num_cpus=..., num_gpus=...)``. The session is imported where the actor runs: whoever only starts
workers needs neither torch nor the seconds it takes to load.
"""

import faulthandler
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray

from orchestrator.contracts import Command, Report, WorkerId
from orchestrator.metadataset.layout import RootLayout

if TYPE_CHECKING:
    from workers.session import WorkerSession


class RemoteSession:
    """A ``WorkerSession`` in a process of its own, whose output goes to a file under the root.

    Args:
        root: Of the sweep.
        worker_id: The worker's name, for its description, its log and the journal.
        is_rehearsal: Whether it only goes through the motions; see ``workers.rehearsal``.
        stalled_after_s: Seconds without a step of training after which it counts as hung.
        **options: Of a session that finetunes; see ``workers.resident``.
    """

    def __init__(
        self, root: str, worker_id: str, *, is_rehearsal: bool, stalled_after_s: float, **options: Any
    ) -> None:
        # Before torch is loaded. Not in a runtime environment: Ray would start other processes for it than
        # those that it holds ready.
        os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        _log_to(RootLayout(Path(root)).worker_log(WorkerId(worker_id)))
        self._session: WorkerSession
        if is_rehearsal:
            from workers.rehearsal import rehearsal_session

            self._session = rehearsal_session(root, worker_id, stalled_after_s=stalled_after_s)
        else:
            from workers.resident import resident_session

            self._session = resident_session(root, worker_id, stalled_after_s=stalled_after_s, **options)

    def exchange(self, commands: Sequence[Command], timeout_s: float) -> list[Report]:
        """Apply commands, then return what there is to report; see ``WorkerSession.exchange``."""
        return self._session.exchange(commands, timeout_s)

    def describe(self) -> dict[str, str]:
        """Return who and what this worker is, and on which node of Ray's."""
        return self._session.describe() | {"node_id": ray.get_runtime_context().get_node_id()}


def _log_to(path: Path) -> None:
    """Send all the process prints, and where it was when it crashed, to a file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    except OSError as err:
        # A worker whose log can't be written can still train; what it prints goes where Ray puts it.
        logging.getLogger(__name__).warning("worker log not opened path=%s reason=%s", path, err)
        return
    for stream in (1, 2):
        os.dup2(file, stream)
    os.close(file)
    faulthandler.enable()
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )


TrainerActor: Any = ray.remote(max_restarts=0, max_task_retries=0)(RemoteSession)
"""``TrainerActor.remote(root, worker_id, ...)``, then ``exchange`` and ``describe`` as remote methods."""
