"""Stopping rules: how far a trial may run before it must be judged, and the judgement."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from orchestrator.contracts import Outcome, Trial, TrialId


@dataclass(frozen=True, slots=True)
class RunOn:
    """Train on, to this epoch."""

    until_epoch: int


@dataclass(frozen=True, slots=True)
class EndHere:
    """Stop at the epoch reached; the outcome is ``stopped``."""


@dataclass(frozen=True, slots=True)
class StandBy:
    """Give the worker back and keep the state, until the rule decides."""


Judgement = RunOn | EndHere | StandBy


class StoppingRule(Protocol):
    """Judges trials at milestones; a trial is only judged on points that are on disk.

    A driver that continues a sweep builds a new rule, adds the plan and hands in the points on record again,
    in the order in which they landed: a rule's state is a function of what it was told.
    """

    def add(self, trial: Trial) -> None:
        """Take note of a planned trial: each once, in plan order, before anything else is said."""

    def milestone(self, trial: Trial, epochs: int) -> int:
        """Return the epoch, above ``epochs``, up to which the trial may run unasked."""

    def judge(self, trial: Trial, epoch: int, metrics: Mapping[str, float]) -> Judgement:
        """Judge a trial that reached a milestone; at its planned fidelity nothing depends on the answer."""

    def end(self, trial: Trial, outcome: Outcome) -> None:
        """Take note that a trial has its outcome."""

    def decisions(self) -> Sequence[tuple[TrialId, RunOn | EndHere]]:
        """Return, once, what has been decided of trials that stand by."""


class Fifo:
    """Every trial runs to its planned fidelity, first come, first served."""

    def add(self, trial: Trial) -> None:
        """Need no note of it."""

    def milestone(self, trial: Trial, epochs: int) -> int:
        """Return the planned fidelity."""
        return trial.max_epochs

    def judge(self, trial: Trial, epoch: int, metrics: Mapping[str, float]) -> Judgement:
        """Let the trial run on; reached only where a sweep was begun under another rule."""
        return RunOn(trial.max_epochs)

    def end(self, trial: Trial, outcome: Outcome) -> None:
        """Need no note of it."""

    def decisions(self) -> Sequence[tuple[TrialId, RunOn | EndHere]]:
        """Return nothing: no trial stands by."""
        return ()
