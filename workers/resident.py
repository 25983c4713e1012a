"""A worker that finetunes: a session around the trainer whose base models stay resident."""

import math
from collections.abc import Callable
from pathlib import Path

import torch

from orchestrator.metadataset.durable import Fault, no_fault
from workers.judge import JudgeSettings
from workers.metafeatures import FeatureCache
from workers.session import WorkerSession
from workers.tasks.loading import load_task as load_task_from_source
from workers.tasks.records import Task
from workers.training.trainer import Trainer


def resident_session(
    root: str,
    worker_id: str,
    *,
    threads: int = 1,
    device: str | None = None,
    stalled_after_s: float = math.inf,
    processes: int = 1,
    judge: JudgeSettings | None = None,
    load_task: Callable[[str], Task] = load_task_from_source,
    fault: Fault = no_fault,
) -> WorkerSession:
    """Start a worker.

    Args:
        root: Of the sweep: where checkpoints and adapters go.
        worker_id: For its description and the log.
        threads: CPU threads of torch; results are reproducible bit for bit with one.
        device: As torch names it; None: the first GPU, else the CPU.
        stalled_after_s: Seconds without a step of training after which it counts as hung.
        processes: Workers that have the GPU together.
        judge: Who judges answers after every epoch; None: no one.
        load_task: From a trial's ``task_source`` to its task.
        fault: Called at named points.

    Returns:
        The session, its training thread running.
    """
    trainer = resident_trainer(
        Path(root),
        threads=threads,
        device=device,
        processes=processes,
        judge=judge,
        load_task=load_task,
        fault=fault,
    )
    return WorkerSession(worker_id, trainer, stalled_after_s=stalled_after_s)


def resident_trainer(
    root: Path,
    *,
    threads: int = 1,
    device: str | None = None,
    processes: int = 1,
    judge: JudgeSettings | None = None,
    load_task: Callable[[str], Task] = load_task_from_source,
    fault: Fault = no_fault,
) -> Trainer:
    """Return what a worker trains with; arguments as ``resident_session`` has them."""
    return Trainer(
        root,
        load_task=load_task,
        measure_task=FeatureCache().measure_encoded,
        device=device or ("cuda" if torch.cuda.is_available() else "cpu"),
        threads=threads,
        processes=processes,
        judge=judge,
        fault=fault,
    )
