"""Small methods whose steps a test knows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from surrogates.metadataset import MetaDataset
from surrogates.stepwise import Optimiser, Point, Problem, Sequenced, Start, Step


@dataclass(frozen=True, kw_only=True)
class Scripted:
    """Asks for given steps, whatever comes of them."""

    name: str = "scripted"
    uses_budget: bool = False
    steps: Callable[[Problem], Sequence[Step]]

    def learn(self, others: MetaDataset, *, seed: int) -> Start:
        return lambda problem: Sequenced(self.steps(problem))


@dataclass(frozen=True, kw_only=True)
class Shuffled:
    """Runs the candidates to the end in random order, passing over what failed."""

    name: str = "shuffled"
    uses_budget: bool = False
    offset: int = 0

    def learn(self, others: MetaDataset, *, seed: int) -> Start:
        def start(problem: Problem) -> Optimiser:
            order = np.random.default_rng(seed + self.offset).permutation(len(problem.candidates))
            return Sequenced([Step(candidate=int(c), epochs=problem.max_epochs) for c in order])

        return start


@dataclass
class Told:
    """Asks for given steps and keeps what it is told."""

    steps: list[Step]
    told: list[tuple[Step, list[Point], bool]] = field(default_factory=list)

    def ask(self) -> Step | None:
        return self.steps.pop(0) if self.steps else None

    def tell(self, step: Step, points: Sequence[Point], *, failed: bool) -> None:
        self.told.append((step, list(points), failed))


LOSSES = {"a": [4.0, 1.0], "b": [2.0, 3.0], "c": [5.0, np.nan], "d": [6.0, 6.0], "e": [7.0]}
"""Curves of the small table; c diverges, e was stopped early."""
PLACE = {name: place for place, name in enumerate(LOSSES)}


def small_table(*, negated: bool = False) -> MetaDataset:
    """Two tasks with the same five curves, of one second an epoch, and f that failed in 3 s with no curve."""
    sign = -1.0 if negated else 1.0
    rows = [
        {
            "task_id": task,
            "config_id": name,
            "epoch": epoch + 1,
            "eval_loss": sign * loss,
            "test_loss": sign * (loss + 10.0),
            "s": 1.0,
        }
        for task in ("t", "u")
        for name, curve in LOSSES.items()
        for epoch, loss in enumerate(curve)
    ]
    return MetaDataset.from_frames(
        pd.DataFrame(rows),
        pd.DataFrame({"config_id": [*LOSSES, "f"], "x": [1, 2, 3, 4, 5, 6]}),
        pd.DataFrame({"task_id": ["t", "u"], "size": [1.0, 2.0]}),
        space={"x": [1, 2, 3, 4, 5, 6]},
        metric="eval_loss",
        direction="maximise" if negated else "minimise",
        cost="s",
        reports=("test_loss",),
        failures=pd.DataFrame({"task_id": ["t", "u"], "config_id": ["f", "f"], "s": [3.0, 3.0]}),
    )
