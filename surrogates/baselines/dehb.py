"""DEHB, by the library of that name: differential evolution under HyperBand.

It proposes points of the unit cube with a fidelity. The nearest candidate with fewer epochs is run in a
proposal's place, and it is that candidate that the population keeps. DEHB trains from scratch at every
fidelity; here a candidate goes on from where it stands.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from surrogates.baselines.conversion import Conversion, NearestCandidate
from surrogates.baselines.libraries import require, silenced
from surrogates.baselines.progress import Progress
from surrogates.data.space import Space
from surrogates.metadataset import MetaDataset
from surrogates.stepwise import Point, Problem, Start, Step

ETA = 3
_WORST = float(np.finfo(float).max)
"""Fitness of a failure: DEHB takes an infinite one for a config that was not run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dehb:
    """DEHB, its fidelities rounded to epochs."""

    name: str = "DEHB"
    uses_budget: bool = False

    def learn(self, others: MetaDataset, *, seed: int) -> Start:
        """Learn nothing; import the library, which takes seconds."""
        require(self.name, "dehb")
        _library()
        return lambda problem: _Evolution(problem, others.space, seed)


def _library() -> Any:
    """Import DEHB and return its class, made to write no log file."""
    with silenced():
        from dehb import DEHB
        from loguru import logger
    logger.disable("dehb")

    class Quiet(DEHB):  # type: ignore[misc, unused-ignore]
        def _setup_logger(self, kwargs: dict[str, Any]) -> None:
            # Its own opens a file and a thread for it, which stay until the process ends.
            self.logger, self.output_path = logger, Path(kwargs["output_path"])

    return Quiet


class _Evolution:
    def __init__(self, problem: Problem, space: Space, seed: int) -> None:
        self._progress = Progress(problem)
        self._conversion = Conversion(space)
        self._nearest = NearestCandidate(space, self._conversion, problem.candidates)
        self._points = [self._conversion.to_unit(config) for config in problem.candidates]
        self._dehb = _library()(
            dimensions=len(self._points[0]),
            min_fidelity=1,
            # With one epoch there is nothing to halve: it gets a ladder whose rungs are all one epoch.
            max_fidelity=max(problem.max_epochs, ETA),
            eta=ETA,
            n_workers=1,
            seed=seed,
            save_freq="end",
            output_path=tempfile.gettempdir(),  # nothing is written there: that happens in run() only
        )
        self._job: dict[str, Any] = {}

    def ask(self) -> Step | None:
        """Return the step of the next job that a candidate can still be run for."""
        while not self._progress.is_over:
            self._job = self._dehb.ask()
            epochs = min(max(round(self._job["fidelity"]), 1), self._progress.problem.max_epochs)
            proposal = self._conversion.from_unit(self._job["config"])
            allowed = self._progress.below(epochs)
            if allowed.any():
                return Step(candidate=self._nearest.find(proposal, allowed), epochs=epochs)
            # All are that far: the answer is on record.
            candidate = self._nearest.find(proposal, np.ones(len(allowed), dtype=bool))
            self._answer(candidate, epochs, cost_s=0.0)
        return None

    def tell(self, step: Step, points: Sequence[Point], *, failed: bool) -> None:
        """Tell what the candidate reached."""
        self._progress.record(step, points, failed=failed)
        self._answer(step.candidate, step.epochs, cost_s=sum(point.cost_s for point in points))

    def _answer(self, candidate: int, epochs: int, *, cost_s: float) -> None:
        fitness = min(self._progress.loss(candidate, epochs), _WORST)
        run = {**self._job, "config": self._points[candidate].copy()}
        self._dehb.tell(run, {"fitness": fitness, "cost": cost_s})
