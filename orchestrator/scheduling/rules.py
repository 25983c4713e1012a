"""Stopping rules: how far a trial may run before it must be judged, and the judgement."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from orchestrator.contracts import Trial


@dataclass(frozen=True, slots=True)
class RunOn:
    """The judgement: train on to this epoch; ``None`` as a judgement means stop."""

    until_epoch: int


class StoppingRule(Protocol):
    """Judges trials at milestones; a trial is only judged on points that are on disk."""

    def milestone(self, trial: Trial, epochs: int) -> int:
        """Return the epoch, above ``epochs``, up to which the trial may run unasked."""

    def judge(self, trial: Trial, epoch: int, metrics: Mapping[str, float]) -> RunOn | None:
        """Judge a trial that reached a milestone short of its planned fidelity."""


class Fifo:
    """Every trial runs to its planned fidelity."""

    def milestone(self, trial: Trial, epochs: int) -> int:
        """Return the planned fidelity."""
        return trial.max_epochs

    def judge(self, trial: Trial, epoch: int, metrics: Mapping[str, float]) -> RunOn | None:
        """Let the trial run on; reached only where a sweep was begun under another rule."""
        return RunOn(trial.max_epochs)
