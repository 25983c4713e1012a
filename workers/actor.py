"""The Ray actor around a worker session, all of it.

Ray restarts nothing and repeats nothing: retries are the scheduler's. The driver names the resources with
``.options(num_cpus=..., num_gpus=...)``. The session is imported where the actor runs: whoever only starts
workers needs neither torch nor the seconds it takes to load.
"""

from collections.abc import Sequence
from typing import Any

import ray

from orchestrator.contracts import Command, Report


class RemoteSession:
    """A ``WorkerSession`` in a process of its own; the arguments and methods are those of the session."""

    def __init__(self, root: str, worker_id: str, **options: Any) -> None:
        from workers.session import WorkerSession

        self._session: WorkerSession = WorkerSession(root, worker_id, **options)

    def exchange(self, commands: Sequence[Command], timeout_s: float) -> list[Report]:
        """Apply commands, then return what there is to report; see ``WorkerSession.exchange``."""
        return self._session.exchange(commands, timeout_s)

    def describe(self) -> dict[str, str]:
        """Return who and what this worker is; see ``WorkerSession.describe``."""
        return self._session.describe()


TrainerActor: Any = ray.remote(
    max_restarts=0,
    max_task_retries=0,
    runtime_env={"env_vars": {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}},
)(RemoteSession)
"""``TrainerActor.remote(root, worker_id)``, then ``exchange`` and ``describe`` as remote methods."""
