"""Successive halving over candidates drawn at random: ASHA by promotion, and HyperBand.

HyperBand is Syne Tune's asynchronous one: its scheduler is told one result at a time and answers at once, so
that it can be driven without a backend. Ray Tune's and Optuna's decide alike; Ray Tune's wants trials and a
controller of its own, Optuna's a study. None of the three lets a stopped trial go on later outside its own
runner, which is what promotion is: ASHA by promotion is therefore written here.
"""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from surrogates.baselines.libraries import own_randomness, require, silenced
from surrogates.baselines.progress import Progress
from surrogates.metadataset import MetaDataset
from surrogates.stepwise import Point, Problem, Start, Step

ETA = 3
"""Reduction factor: one in so many goes on from a rung."""


def rungs(max_epochs: int) -> tuple[int, ...]:
    """Return the rungs 1, 3, 9, … below the largest fidelity, and that."""
    below = []
    epochs = 1
    while epochs < max_epochs:
        below.append(epochs)
        epochs *= ETA
    return (*below, max_epochs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asha:
    """Asynchronous successive halving by promotion, with one worker.

    A config in the best third of its rung goes on to the next, from where it stands; when none is, a new one
    begins. When all have begun, the best of those that wait on the highest rung goes on. Source: Li et al.,
    arXiv 1810.05934, algorithm 2.
    """

    name: str = "ASHA"
    uses_budget: bool = False

    def learn(self, others: MetaDataset, *, seed: int) -> Start:
        """Learn nothing."""
        return lambda problem: _Promotion(problem, seed)


class _Promotion:
    def __init__(self, problem: Problem, seed: int) -> None:
        self._progress = Progress(problem)
        self._rungs = rungs(problem.max_epochs)
        order = np.random.default_rng(seed).permutation(len(problem.candidates))
        self._unseen = [int(place) for place in order]
        self._reached: list[list[int]] = [[] for _ in self._rungs]
        """Candidates that came to a rung or failed on the way, also those that have gone on."""

    def ask(self) -> Step | None:
        """Return a promotion, or the first rung of a new candidate."""
        for rung in reversed(range(len(self._rungs) - 1)):
            best = self._ranked(rung)[: len(self._reached[rung]) // ETA]
            waiting = self._waiting(best, rung)
            if waiting:
                return Step(candidate=waiting[0], epochs=self._rungs[rung + 1])
        if self._unseen:
            return Step(candidate=self._unseen.pop(0), epochs=self._rungs[0])
        for rung in reversed(range(len(self._rungs) - 1)):
            waiting = self._waiting(self._ranked(rung), rung)
            if waiting:
                return Step(candidate=waiting[0], epochs=self._rungs[rung + 1])
        return None

    def tell(self, step: Step, points: Sequence[Point], *, failed: bool) -> None:
        """Put the candidate on its rung; a failure is the last there for ever."""
        self._progress.record(step, points, failed=failed)
        self._reached[self._rungs.index(step.epochs)].append(step.candidate)

    def _ranked(self, rung: int) -> list[int]:
        losses = self._progress.losses(self._rungs[rung])
        return sorted(self._reached[rung], key=lambda place: float(losses[place]))

    def _waiting(self, places: Sequence[int], rung: int) -> list[int]:
        gone_on = self._progress.epochs > self._rungs[rung]
        return [place for place in places if not (gone_on[place] or self._progress.failed[place])]


@dataclass(frozen=True, slots=True, kw_only=True)
class HyperBand:
    """HyperBand with asynchronous brackets, as Syne Tune has it: what falls behind at a rung is stopped."""

    name: str = "HyperBand"
    uses_budget: bool = False

    def learn(self, others: MetaDataset, *, seed: int) -> Start:
        """Learn nothing; import the library."""
        require(self.name, "syne_tune")
        import syne_tune.optimizer.schedulers.asha  # noqa: F401

        return lambda problem: _Stopping(problem, seed)


class _Stopping:
    def __init__(self, problem: Problem, seed: int) -> None:
        from syne_tune.config_space import choice
        from syne_tune.optimizer.schedulers.asha import AsynchronousSuccessiveHalving

        self._progress = Progress(problem)
        self._rng = np.random.default_rng(seed)
        count = len(problem.candidates)
        self._unseen = [int(place) for place in self._rng.permutation(count)]
        with silenced("syne_tune"), own_randomness(seed):
            self._scheduler = AsynchronousSuccessiveHalving(
                {"candidate": choice(list(range(count)))},
                metric="loss",
                do_minimize=True,
                time_attr="epoch",
                max_t=problem.max_epochs,
                reduction_factor=ETA,
                brackets=_brackets(problem.max_epochs),
                random_seed=seed,
            )
        self._running: Any = None  # Syne Tune's trial

    def ask(self) -> Step | None:
        """Return one epoch more of what runs, or the first of a new candidate."""
        if self._running is None:
            if not self._unseen:
                return None
            self._begin(self._unseen.pop(0))
        candidate: int = self._running.trial_id
        return Step(candidate=candidate, epochs=int(self._progress.epochs[candidate]) + 1)

    def tell(self, step: Step, points: Sequence[Point], *, failed: bool) -> None:
        """Report the epoch; the scheduler says whether the candidate goes on."""
        from syne_tune.optimizer.scheduler import SchedulerDecision

        self._progress.record(step, points, failed=failed)
        result = {"loss": self._progress.loss(step.candidate, step.epochs), "epoch": step.epochs}
        with silenced("syne_tune"):
            decision = self._scheduler.on_trial_result(self._running, result)
        if failed or decision == SchedulerDecision.STOP:
            self._running = None

    def _begin(self, candidate: int) -> None:
        from syne_tune.backend.trial_status import Trial

        self._running = Trial(candidate, {"candidate": candidate}, datetime.datetime.min)
        # The bracket is drawn from numpy's global generator.
        with own_randomness(int(self._rng.integers(2**31))):
            self._scheduler.on_trial_add(self._running)


def _brackets(max_epochs: int) -> int:
    """Return how many powers of the reduction factor are no larger than this, from 1."""
    return sum(ETA**power <= max_epochs for power in range(max_epochs))
