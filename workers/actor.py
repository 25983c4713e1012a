"""The Ray actor around a worker session, all of it.

Ray restarts nothing and repeats nothing: retries are the scheduler's. The driver names the resources with
``.options(num_cpus=..., num_gpus=...)``.
"""

import ray

from workers.session import WorkerSession

TrainerActor = ray.remote(
    max_restarts=0,
    max_task_retries=0,
    runtime_env={"env_vars": {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}},
)(WorkerSession)
"""``TrainerActor.remote(root, worker_id)``, then ``exchange`` and ``describe`` as remote methods."""
