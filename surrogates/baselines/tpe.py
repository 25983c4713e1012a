"""Optuna's TPE with its successive-halving pruner, epoch by epoch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from surrogates.baselines.conversion import Conversion, NearestCandidate
from surrogates.baselines.libraries import require, silenced
from surrogates.baselines.progress import Progress
from surrogates.data.space import Space
from surrogates.metadataset import MetaDataset
from surrogates.stepwise import Point, Problem, Start, Step

ETA = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Tpe:
    """TPE; the nearest candidate never begun is run in a proposal's place, under its own values.

    Optuna has no way to go on with what was pruned: when all candidates have begun, it is over.
    """

    name: str = "TPE"
    uses_budget: bool = False

    def learn(self, others: MetaDataset, *, seed: int) -> Start:
        """Learn nothing; import the library."""
        require(self.name, "optuna")
        import optuna  # noqa: F401

        return lambda problem: _Study(problem, others.space, seed)


class _Study:
    def __init__(self, problem: Problem, space: Space, seed: int) -> None:
        import optuna

        self._progress = Progress(problem)
        self._conversion = Conversion(space)
        self._nearest = NearestCandidate(space, self._conversion, problem.candidates)
        self._distributions = self._conversion.optuna_distributions()
        with silenced("optuna"):
            self._study = optuna.create_study(
                sampler=optuna.samplers.TPESampler(seed=seed),
                pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=ETA),
                study_name="task",
            )
        self._trial: Any = None  # Optuna's
        self._candidate = 0

    def ask(self) -> Step | None:
        """Return one epoch more of what runs, or the first of what is proposed."""
        if self._trial is None:
            unseen = self._progress.below(1)
            if not unseen.any():
                return None
            with silenced("optuna"):
                self._begin(unseen)
        return Step(candidate=self._candidate, epochs=int(self._progress.epochs[self._candidate]) + 1)

    def tell(self, step: Step, points: Sequence[Point], *, failed: bool) -> None:
        """Report the epoch, and end the trial where it can't go on, is pruned or complete."""
        from optuna.trial import TrialState, create_trial

        self._progress.record(step, points, failed=failed)
        loss = self._progress.loss(step.candidate, step.epochs)
        is_last = failed or step.epochs >= self._progress.problem.max_epochs
        if np.isfinite(loss):
            self._trial.report(loss, step.epochs)
            if is_last and not failed:
                self._study.tell(self._trial, loss)
            elif is_last or self._trial.should_prune():
                is_last = True
                self._study.tell(self._trial, state=TrialState.PRUNED)
        elif is_last:
            # A trial pruned before its first report ranks last, below those that were pruned early.
            self._study.tell(self._trial, state=TrialState.FAIL)
            worst = {"params": self._trial.params, "distributions": self._distributions}
            self._study.add_trial(create_trial(state=TrialState.PRUNED, **worst))
        if is_last:
            self._trial = None

    def _begin(self, unseen: NDArray[np.bool_]) -> None:
        from optuna.trial import TrialState

        proposed = self._study.ask(self._distributions)
        self._study.tell(proposed, state=TrialState.FAIL)  # nobody runs it; the sampler ignores it
        self._candidate = self._nearest.find(self._conversion.config(proposed.params), unseen)
        own = self._conversion.values(self._progress.problem.candidates[self._candidate])
        self._study.enqueue_trial(own)
        self._trial = self._study.ask(self._distributions)
