"""Rehearsed trials: all of the orchestration, and no finetuning.

A sweep whose base model is ``rehearsal`` plans, schedules, checkpoints, records and resumes as any other, in
workers that load neither torch nor a model: to try a cluster, to torture it, to measure what orchestration
costs. An epoch's numbers are drawn from a chain of hashes that begins with the trial's id, and the chain is
what a checkpoint holds: a trial that is continued from a wrong state shows other numbers.

    ROOT/checkpoints/TRIAL/attempt-0/rehearsal.json
"""

import hashlib
import json
import logging
import math
import re
import resource
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from orchestrator.contracts import (
    CurvePoint,
    DescribeTask,
    Lease,
    Outcome,
    PointMeasured,
    TaskRecord,
    Trial,
    TrialEnded,
    TrialId,
    TrialPaused,
    TrialStarted,
)
from orchestrator.metadataset.durable import make_folder_durably, write_durably
from orchestrator.metadataset.layout import RootLayout
from workers.models.location import rehearsal_epoch_s
from workers.session import WorkerSession
from workers.tasks.loading import load_task
from workers.training.control import Decision, TrainerControl

_log = logging.getLogger(__name__)

_STEPS = 10
"""Optimizer steps that an epoch is said to have."""
_BEAT_S = 0.5
_ATTEMPT = re.compile(r"attempt-(\d+)")
_DEVICE = "rehearsal"


class RehearsalTrainer:
    """Goes through the motions of a trainer, trial after trial.

    Trials whose epochs take no time keep no checkpoints: to run them again costs nothing.

    Args:
        root: Of the sweep: where checkpoints go.
    """

    def __init__(self, root: Path) -> None:
        self._layout = RootLayout(root)

    def prepare(self) -> None:
        """Need no setting up."""

    def facts(self) -> Mapping[str, str]:
        """Return what stands for a device."""
        return {"device": _DEVICE, "device_name": _DEVICE}

    def describe(self, command: DescribeTask) -> TaskRecord:
        """Count a task's examples, and measure nothing."""
        task = load_task(command.source)
        return TaskRecord(
            task_id=command.task_id,
            name=command.name,
            source=command.source,
            base_fingerprint=_DEVICE,
            train_examples=len(task.train),
            eval_examples=len(task.validation),
            test_examples=len(task.test),
            meta_features={},
        )

    def release(self, trial_id: TrialId, attempt: int) -> None:
        """Remove what was kept to continue a trial, by this attempt and those before it."""
        for number, folder in self._attempts(trial_id).items():
            if number <= attempt:
                shutil.rmtree(folder, ignore_errors=True)

    def train(self, pack: Sequence[Lease], control: TrainerControl) -> None:
        """Rehearse the leased trials, one after the other."""
        for lease in pack:
            try:
                self._rehearse(lease, control)
            except OSError as err:
                # A disk that is full, read-only or gone says nothing about the trial: it is tried again.
                _log.warning("checkpoint not written trial=%s reason=%s", lease.trial.trial_id, err)
                control.report(_ended(lease, Outcome.LOST, lease.committed_epochs, error=str(err)))

    def _rehearse(self, lease: Lease, control: TrainerControl) -> None:
        trial = lease.trial
        epoch_s = rehearsal_epoch_s(trial.base_model) or 0.0
        states = self._newest_states(trial.trial_id, lease.attempt)
        control.report(TrialStarted(trial_id=trial.trial_id, attempt=lease.attempt, from_epoch=len(states)))
        for epoch in range(lease.committed_epochs + 1, len(states) + 1):
            control.report(PointMeasured(point=_point(lease, epoch, states[epoch - 1], epoch_s, 0.0)))
        outcome = Outcome.COMPLETED
        while len(states) < trial.max_epochs:
            decision = control.wait(trial.trial_id, lease.attempt, len(states))
            if decision is Decision.ABANDON:
                return
            if decision is Decision.PAUSE:
                control.report(TrialPaused(trial_id=trial.trial_id, attempt=lease.attempt))
                return
            if decision is Decision.STOP:
                outcome = Outcome.STOPPED
                break
            cpu_began_s = time.thread_time()
            _pass_time(epoch_s, control)
            states.append(_next_state(trial, states))
            if epoch_s > 0:
                self._save(trial.trial_id, lease.attempt, states)
            if len(states) > lease.committed_epochs:
                cpu_s = time.thread_time() - cpu_began_s
                control.report(PointMeasured(point=_point(lease, len(states), states[-1], epoch_s, cpu_s)))
        control.report(_ended(lease, outcome, max(len(states), lease.committed_epochs)))

    def _newest_states(self, trial_id: TrialId, attempt: int) -> list[str]:
        """Return the longest chain on disk, by this attempt or one before it."""
        longest: list[str] = []
        for number, folder in self._attempts(trial_id).items():
            if number > attempt:
                continue
            try:
                states = json.loads((folder / "rehearsal.json").read_text())
            except (OSError, ValueError) as err:
                _log.warning("checkpoint ignored path=%s reason=%s", folder, err)
                continue
            longest = max(longest, states, key=len)
        return longest

    def _save(self, trial_id: TrialId, attempt: int, states: Sequence[str]) -> None:
        folder = self._layout.checkpoint_dir(trial_id) / f"attempt-{attempt}"
        make_folder_durably(folder)
        write_durably(folder / "rehearsal.json", json.dumps(states).encode())

    def _attempts(self, trial_id: TrialId) -> dict[int, Path]:
        folders = self._layout.checkpoint_dir(trial_id).glob("attempt-*")
        matches = ((_ATTEMPT.fullmatch(folder.name), folder) for folder in folders)
        return {int(match[1]): folder for match, folder in matches if match}


def rehearsal_session(root: str, worker_id: str, *, stalled_after_s: float = math.inf) -> WorkerSession:
    """Start a worker that rehearses.

    Args:
        root: Of the sweep.
        worker_id: For its description and the log.
        stalled_after_s: Seconds without a sign of life after which it counts as hung.

    Returns:
        The session, its thread running.
    """
    return WorkerSession(worker_id, RehearsalTrainer(Path(root)), stalled_after_s=stalled_after_s)


def _pass_time(epoch_s: float, control: TrainerControl) -> None:
    """Sleep through an epoch, with a sign of life now and then."""
    left_s = epoch_s
    while left_s > 0:
        time.sleep(min(left_s, _BEAT_S))
        left_s -= _BEAT_S
        control.beat()


def _next_state(trial: Trial, states: Sequence[str]) -> str:
    before = states[-1] if states else trial.trial_id
    return hashlib.sha256(f"{before}/{len(states) + 1}".encode()).hexdigest()


def _point(lease: Lease, epoch: int, state: str, epoch_s: float, cpu_s: float) -> CurvePoint:
    """Draw an epoch's numbers: a loss that falls, by the trial's own rate, with some noise."""
    trial = lease.trial
    rate = int(trial.trial_id[:8], 16) / 16**8
    noise = int(state[:8], 16) / 16**8
    loss = 0.2 + 2.0 * math.exp(-rate * epoch) + 0.1 * noise
    score = math.exp(-loss)
    return CurvePoint(
        trial_id=trial.trial_id,
        attempt=lease.attempt,
        task_id=trial.task_id,
        config_id=trial.config_id,
        seed=trial.seed,
        epoch=epoch,
        step=_STEPS * epoch,
        tokens=0,
        train_loss=loss,
        eval_loss=loss,
        eval_exact_match=score,
        eval_token_f1=score,
        test_loss=loss,
        test_exact_match=score,
        test_token_f1=score,
        train_s=epoch_s,
        eval_s=0.0,
        cpu_s=cpu_s,
        peak_memory_bytes=_peak_memory_bytes(),
        device=_DEVICE,
        eval_rouge_l=score,
        test_rouge_l=score,
    )


def _ended(lease: Lease, outcome: Outcome, epochs: int, error: str | None = None) -> TrialEnded:
    return TrialEnded(
        trial_id=lease.trial.trial_id,
        attempt=lease.attempt,
        outcome=outcome,
        epochs=epochs,
        unreported_train_s=0.0,
        peak_memory_bytes=_peak_memory_bytes(),
        device=_DEVICE,
        error=error,
    )


def _peak_memory_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
