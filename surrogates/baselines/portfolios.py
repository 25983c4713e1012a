"""Orders of configs learned from past tasks, each config run to the end, and one epoch of all as a test.

Everything is worked out when a method starts on a task; asking costs nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from surrogates.baselines.fixed import full_runs
from surrogates.baselines.past import MOST_REGRET, CandidateResults, PastResults
from surrogates.baselines.progress import Progress
from surrogates.data.normalisation import Array
from surrogates.metadataset import MetaDataset
from surrogates.models.neighbours import task_distances
from surrogates.stepwise import Point, Problem, Sequenced, Start, Step

_LEAST_GAIN = 1e-9
_LEAST_COST = 1e-3
"""Share of a median run below which a config counts as no cheaper."""
_TRIAL_SHARE = 1.0 / 3.0
"""Of the budget, for first epochs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AverageRank:
    """Configs in the order of their mean rank over the past tasks.

    Candidates that no past task ran come after those that one did, in the order of the nearest configs'.
    """

    name: str = "average rank"
    uses_budget: bool = False

    def learn(self, others: MetaDataset, *, seed: int) -> Start:
        """Rank the past trials."""
        past = PastResults.of(others)

        def start(problem: Problem) -> Sequenced:
            return full_runs(past.of_candidates(problem.candidates).order(), problem)

        return start


@dataclass(frozen=True, slots=True, kw_only=True)
class NearestTask:
    """Configs in the order of their rank on the past task whose meta-features are nearest.

    Those that it did not run follow in their order on the second nearest task, and so on; then those that no
    past task ran, by the config nearest to them on the nearest task. Without a meta-feature known of both the
    new task and a past one, it is the average rank.
    """

    name: str = "nearest task"
    uses_budget: bool = False

    def learn(self, others: MetaDataset, *, seed: int) -> Start:
        """Rank the past trials and scale the meta-features."""
        past = PastResults.of(others)

        def start(problem: Problem) -> Sequenced:
            results = past.of_candidates(problem.candidates)
            features = past.feature_encoder.encode([problem.features])
            distances = task_distances(features, past.features)[0]
            if np.isnan(distances).all():
                return full_runs(results.order(), problem)
            nearest = np.argsort(distances, kind="stable")
            was_run, ranks = results.was_run[nearest], results.ranks[nearest]
            unknown = ~was_run.any(axis=0)
            first = np.where(unknown, 0, was_run.argmax(axis=0))
            value = ranks[first, np.arange(len(first))]
            return full_runs(np.lexsort((value, np.where(unknown, len(nearest), first))), problem)

        return start


@dataclass(frozen=True, slots=True, kw_only=True)
class GreedyPortfolio:
    """Configs that complement each other: each one lowers the mean over past tasks of the lowest regret most.

    Where a past task did not run a candidate, the nearest config that it ran stands in. When no further
    config lowers the mean, the others follow by average rank. Source: Wistuba, Schilling, Schmidt-Thieme,
    Sequential Model-Free Hyperparameter Tuning, ICDM 2015, with regret in the place of the rank.
    """

    name: str = "portfolio"
    per_second: bool = False
    """Whether gains are divided by the mean relative cost."""
    uses_budget: bool = False

    def learn(self, others: MetaDataset, *, seed: int) -> Start:
        """Take the past trials' regrets and costs."""
        past = PastResults.of(others)

        def start(problem: Problem) -> Sequenced:
            results = past.of_candidates(problem.candidates)
            return full_runs(complementary(results, per_second=self.per_second), problem)

        return start


def complementary(results: CandidateResults, *, per_second: bool) -> NDArray[np.int64]:
    """Order candidates greedily by what each adds to those before it.

    Args:
        results: Of the candidates on the past tasks.
        per_second: Whether a gain counts by the cost of getting it.

    Returns:
        Positions of all candidates, shape ``(P,)``.
    """
    ranked = results.order()
    if not len(results.regrets):
        return ranked
    # In this order, of candidates that add the same the one that ranks better is taken.
    regrets = results.regrets[:, ranked]
    divisor: Array = np.ones(len(ranked))
    if per_second:
        divisor = np.maximum(results.costs[:, ranked].mean(axis=0), _LEAST_COST)
    best = np.full((len(regrets), 1), MOST_REGRET)
    chosen: list[int] = []
    while len(chosen) < len(ranked):
        gains = np.maximum(best - regrets, 0.0).mean(axis=0)
        if gains.max() <= _LEAST_GAIN:
            break
        place = int(np.argmax(gains / divisor))
        chosen.append(place)
        best = np.minimum(best, regrets[:, [place]])
    return ranked[chosen + [place for place in range(len(ranked)) if place not in set(chosen)]]


@dataclass(frozen=True, slots=True, kw_only=True)
class OneEpochTopK:
    """All candidates for one epoch, in random order, until a third of the budget is gone; then the best.

    The best after one epoch are run to the end, one after the other, as far as the budget goes; then those
    never begun. Source: arXiv 2307.15422.
    """

    name: str = "one-epoch top-K"
    uses_budget: bool = True

    def learn(self, others: MetaDataset, *, seed: int) -> Start:
        """Learn nothing."""
        return lambda problem: _TopK(
            problem, np.random.default_rng(seed).permutation(len(problem.candidates))
        )


class _TopK:
    """One task's run of ``OneEpochTopK``.

    Args:
        problem: The new task.
        order: In which candidates are begun.
    """

    def __init__(self, problem: Problem, order: NDArray[np.int64]) -> None:
        self._progress = Progress(problem)
        self._unseen = [int(place) for place in order]
        self._left_s = problem.budget_s * _TRIAL_SHARE

    def ask(self) -> Step | None:
        """Return one epoch of the next candidate, or the best one's way to the end."""
        max_epochs = self._progress.problem.max_epochs
        begun = self._progress.below(max_epochs) & (self._progress.epochs > 0)
        if self._unseen and (self._left_s > 0 or not begun.any()):
            epochs = 1 if self._left_s > 0 else max_epochs
            return Step(candidate=self._unseen.pop(0), epochs=epochs)
        if not begun.any():
            return None
        places = np.flatnonzero(begun)
        best = places[np.argmin(self._progress.losses(max_epochs)[places])]
        return Step(candidate=int(best), epochs=max_epochs)

    def tell(self, step: Step, points: Sequence[Point], *, failed: bool) -> None:
        """Take its loss, and its cost from the third."""
        self._progress.record(step, points, failed=failed)
        self._left_s -= sum(point.cost_s for point in points)
