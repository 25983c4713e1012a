"""Methods that know their steps from the start: no finetuning, the default config, full runs at random."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from surrogates.data.encoding import ConfigEncoder
from surrogates.metadataset import MetaDataset
from surrogates.stepwise import Problem, Sequenced, Start, Step


def full_runs(order: NDArray[np.int64], problem: Problem) -> Sequenced:
    """Run candidates to the end, one after the other.

    Args:
        order: Positions of candidates.
        problem: The new task.

    Returns:
        The optimiser.
    """
    return Sequenced([Step(candidate=int(place), epochs=problem.max_epochs) for place in order])


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroShot:
    """The base model as it is: nothing is run."""

    name: str = "zero-shot"
    uses_budget: bool = False

    def learn(self, others: MetaDataset, *, seed: int) -> Start:
        """Learn nothing."""
        return lambda _: Sequenced([])


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultConfig:
    """The candidate nearest to the space's default config, run to the end; then nothing."""

    name: str = "default"
    uses_budget: bool = False

    def learn(self, others: MetaDataset, *, seed: int) -> Start:
        """Learn the space's default."""
        encoder = ConfigEncoder(others.space)
        default = encoder.encode([others.space.default()])

        def start(problem: Problem) -> Sequenced:
            distances = encoder.distances(encoder.encode(problem.candidates), default)[:, 0]
            return full_runs(np.argmin(distances, keepdims=True), problem)

        return start


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomSearch:
    """Full runs in random order."""

    name: str = "random"
    uses_budget: bool = False

    def learn(self, others: MetaDataset, *, seed: int) -> Start:
        """Learn nothing."""

        def start(problem: Problem) -> Sequenced:
            return full_runs(np.random.default_rng(seed).permutation(len(problem.candidates)), problem)

        return start
