"""Asks a method on a recorded task, as a replay does, and holds it to what every method promises."""

from dataclasses import dataclass

import numpy as np

from orchestrator.contracts import Config
from surrogates.data.normalisation import Array, Direction
from surrogates.metadataset import MetaDataset
from surrogates.stepwise import Method, Point, Problem, Start, Step


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One task's curves."""

    problem: Problem
    values: Array
    """The metric, shape ``(candidates, epochs)``; NaN where the trial failed and from there on."""
    cost_s: Array
    """Of an epoch, shape ``(candidates,)``."""


def recording(
    *,
    seed: int = 0,
    configs: tuple[Config, ...],
    max_epochs: int = 9,
    direction: Direction = Direction.MINIMISE,
    failures: float = 0.1,
    budget_s: float = 50.0,
    features: dict[str, float] | None = None,
) -> Recording:
    """Curves drawn at random that fall, or rise, with the epochs."""
    rng = np.random.default_rng(seed)
    count = len(configs)
    losses = rng.uniform(0.1, 2.0, (count, 1)) + rng.uniform(0.0, 2.0, (count, 1)) / np.arange(
        1, max_epochs + 1
    )
    losses += 0.02 * rng.normal(size=losses.shape)
    failed_from = np.where(rng.random(count) < failures, rng.integers(0, max_epochs, count), max_epochs)
    losses[np.arange(max_epochs)[None, :] >= failed_from[:, None]] = np.nan
    return Recording(
        problem=Problem(
            features=features or {},
            candidates=configs,
            budget_s=budget_s,
            max_epochs=max_epochs,
            direction=direction,
        ),
        values=losses if direction is Direction.MINIMISE else -losses,
        cost_s=rng.uniform(0.5, 2.0, count),
    )


def run(start: Start, recorded: Recording, *, most: int | None = None) -> list[Step]:
    """Ask and tell until the method has nothing left; assert that no step is one it must not ask for."""
    problem = recorded.problem
    optimiser = start(problem)
    epochs = np.zeros(len(problem.candidates), dtype=int)
    failed = np.zeros(len(problem.candidates), dtype=bool)
    steps: list[Step] = []
    while most is None or len(steps) < most:
        step = optimiser.ask()
        if step is None:
            break
        steps.append(step)
        assert 0 <= step.candidate < len(problem.candidates)
        assert not failed[step.candidate], f"{step}: the candidate failed before"
        assert epochs[step.candidate] < step.epochs <= problem.max_epochs, step
        before = int(epochs[step.candidate])
        values = recorded.values[step.candidate, before : step.epochs]
        done = int(np.argmax(np.isnan(values))) + 1 if np.isnan(values).any() else len(values)
        points = [
            Point(epoch=before + at + 1, value=float(value), cost_s=float(recorded.cost_s[step.candidate]))
            for at, value in enumerate(values[:done])
        ]
        failed[step.candidate] = bool(np.isnan(values).any())
        epochs[step.candidate] = before + done
        optimiser.tell(step, points, failed=bool(failed[step.candidate]))
    assert most is not None or optimiser.ask() is None
    return steps


def steps_of(method: Method, others: MetaDataset, recorded: Recording, *, seed: int = 0) -> list[Step]:
    """Learn, and run to the end."""
    return run(method.learn(others, seed=seed), recorded)
