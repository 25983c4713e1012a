"""One method at work on one task: what happens when a step is asked, run, cut by its budget, told, or fails.

Replays and live comparisons differ in where epochs come from and in nothing else. Two clocks run: the seconds
of training and evaluation that the epochs bring with them, and the method's own seconds on this machine.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pandas as pd

from orchestrator.contracts import InputError
from surrogates.data.normalisation import Array
from surrogates.stepwise import Method, Point, Problem, Start, Step

Clock = Callable[[], float]
"""Seconds; differences count."""

ROUND_OFF = 1e-12
"""Share by which a sum of seconds may pass a budget that it is meant to fill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One epoch of a candidate."""

    epoch: int
    value: float
    """The metric as it is measured; NaN in the epoch in which the candidate failed."""
    loss: float
    """The metric, minimised; ``inf`` where it may not become the incumbent."""
    cost_s: float
    """Of this epoch alone."""
    reports: Array
    """Further metrics, shape ``(R,)``."""


class Curves(Protocol):
    """Where epochs come from: a record of them, or a trainer."""

    @property
    def candidates(self) -> tuple[str, ...]:
        """Ids of the configs that can be asked for."""
        ...

    @property
    def reports(self) -> tuple[str, ...]:
        """Names of the further metrics."""
        ...

    def problem(self, budget_s: float) -> Problem:
        """Return what a method may know of the task."""
        ...

    def epochs(self, candidate: int, *, after: int, until: int, within_s: float) -> Iterator[Epoch]:
        """Return a candidate's epochs, one after the other; taken as far as the budget goes.

        Args:
            candidate: Its position.
            after: The epoch it was run to before.
            until: The last one asked for; fewer come where it fails, or can't go on.
            within_s: What is left of the budget: no epoch need come after those that cost more.

        Returns:
            The epochs, from the one after ``after``.
        """
        ...

    def is_over(self, candidate: int, epochs: int) -> bool:
        """Return whether a candidate that was asked for this epoch can't be trained any further."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Incumbent:
    """The best so far."""

    loss: float
    """``inf`` while there is none."""
    reports: Array
    """At the same point, shape ``(R,)``; NaN where not known."""


@dataclass(slots=True)
class _Stopwatch:
    clock: Clock
    total_s: float = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        begun = self.clock()
        yield
        self.total_s += self.clock() - begun


@dataclass(slots=True)
class _Run:
    """What a method has come to."""

    budget_s: float
    untrained: Incumbent
    train_s: float = 0.0
    reached: dict[int, int] = field(default_factory=dict)
    """Candidate to the epoch it was asked for."""
    ended: set[int] = field(default_factory=set)
    """Candidates that can't be trained any further."""
    best: dict[int, Incumbent] = field(default_factory=dict)
    """Candidate to its best point, in the order in which they were found."""
    rows: list[tuple[Any, ...]] = field(default_factory=list)

    @property
    def incumbent(self) -> Incumbent:
        """The first of the best; before anything is trained the base model."""
        return min([self.untrained, *self.best.values()], key=lambda found: found.loss)

    def take(self, candidate: int, epoch: Epoch) -> None:
        """Count an epoch; one that failed takes back what its candidate had reached."""
        if not np.isfinite(epoch.value):
            self.best.pop(candidate, None)
        elif epoch.loss < (self.best[candidate].loss if candidate in self.best else np.inf):
            self.best.pop(candidate, None)
            self.best[candidate] = Incumbent(loss=epoch.loss, reports=epoch.reports)


def run_method(
    start: Start,
    curves: Curves,
    budget_s: float,
    *,
    untrained: Incumbent | None = None,
    clock: Clock = time.perf_counter,
) -> pd.DataFrame:
    """Run a method until the budget is gone on the training clock, or nothing is asked any more.

    When the budget ends within a step, the epochs done until then count. A config that fails costs what it
    cost, and is not the incumbent any more.

    Args:
        start: What the method has learned from other tasks.
        curves: Where epochs come from.
        budget_s: Seconds of training and evaluation.
        untrained: The base model as it is; None where that is not known.
        clock: Of the method's own seconds.

    Returns:
        One row before the first step, then one an epoch: step (from 1), candidate (a config's id), epoch,
        train_s and own_s (both since the start), loss of the incumbent (``inf`` while there is none), and
        the reports at the incumbent's point (NaN while there is none).

    Raises:
        InputError: The method asked for what can't be run.
    """
    own = _Stopwatch(clock)
    problem = curves.problem(budget_s)
    with own.running():
        optimiser = start(problem)
    nothing = Incumbent(loss=np.inf, reports=np.full(len(curves.reports), np.nan))
    run = _Run(budget_s, untrained or nothing)
    run.rows.append((0, None, 0, 0.0, own.total_s, run.incumbent.loss, *run.incumbent.reports))
    number = 0
    while run.train_s * (1 + ROUND_OFF) < budget_s:
        with own.running():
            step = optimiser.ask()
        if step is None:
            break
        _refuse_wrong(step, run, problem)
        number += 1
        points = _train(step, run, curves, number, own.total_s)
        if points is None:
            break
        with own.running():
            optimiser.tell(step, points, failed=step.candidate in run.ended)
    columns = ["step", "candidate", "epoch", "train_s", "own_s", "loss", *curves.reports]
    return pd.DataFrame(run.rows, columns=columns)


def run_budgets(
    method: Method,
    start: Start,
    curves: Curves,
    *,
    unit_s: float,
    budgets: Sequence[float],
    task_id: str,
    seed: int,
    untrained: Incumbent | None = None,
    clock: Clock = time.perf_counter,
) -> pd.DataFrame:
    """Run a method on one task at several budgets.

    Args:
        method: What is judged.
        start: What it has learned from other tasks.
        curves: Where epochs come from.
        unit_s: Seconds of a full run.
        budgets: Multiples of it. A method whose steps do not depend on the budget is run at the largest only,
            since the others are read from it.
        task_id: Of the task.
        seed: Which run of the method it is.
        untrained: The base model as it is; None where that is not known.
        clock: Of the method's own seconds.

    Returns:
        What ``run_method`` says, with method, task_id, seed and budget before it.

    Raises:
        InputError: The method asked for what can't be run.
    """
    frames = []
    for budget in sorted(budgets) if method.uses_budget else [max(budgets)]:
        rows = run_method(start, curves, budget * unit_s, untrained=untrained, clock=clock)
        labelled = rows.assign(method=method.name, task_id=task_id, seed=seed, budget=float(budget))
        frames.append(labelled[["method", "task_id", "seed", "budget", *rows.columns]])
    return pd.concat(frames, ignore_index=True)


def _refuse_wrong(step: Step, run: _Run, problem: Problem) -> None:
    wrong = None
    reached = run.reached.get(step.candidate, 0)
    if not 0 <= step.candidate < len(problem.candidates):
        wrong = f"there are {len(problem.candidates)} candidates"
    elif step.candidate in run.ended:
        wrong = "it was told that this candidate can't be trained any further"
    elif not reached < step.epochs <= problem.max_epochs:
        wrong = f"the candidate has {reached} epochs, and {problem.max_epochs} are the most"
    if wrong is not None:
        raise InputError(f"a method asked for epoch {step.epochs} of candidate {step.candidate}, but {wrong}")


def _train(step: Step, run: _Run, curves: Curves, number: int, own_s: float) -> list[Point] | None:
    """Add the rows of a step, and return its points; None if the budget ended within it."""
    before = run.reached.get(step.candidate, 0)
    run.reached[step.candidate] = step.epochs
    points = []
    left_s = run.budget_s - run.train_s
    for epoch in curves.epochs(step.candidate, after=before, until=step.epochs, within_s=left_s):
        train_s = run.train_s + epoch.cost_s
        if train_s > run.budget_s * (1 + ROUND_OFF):
            return None
        run.train_s = train_s
        run.take(step.candidate, epoch)
        best = run.incumbent
        config = curves.candidates[step.candidate]
        run.rows.append((number, config, epoch.epoch, train_s, own_s, best.loss, *best.reports))
        points.append(Point(epoch=epoch.epoch, value=epoch.value, cost_s=epoch.cost_s))
    if curves.is_over(step.candidate, step.epochs):
        run.ended.add(step.candidate)
    return points
