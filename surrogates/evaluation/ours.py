"""The recommender as a method among others: a plan made once, before anything is run, and followed."""

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from orchestrator.contracts import InputError, config_id
from surrogates.metadataset import MetaDataset
from surrogates.recommender import Recommender
from surrogates.stepwise import Optimiser, Point, Problem, Start, Step

logger = logging.getLogger(__name__)

OURS = "transfer-only"
"""Name of Foretune's own method in a comparison."""


@dataclass(slots=True)
class FollowedPlan:
    """Steps known beforehand, of which those of a config that failed are passed over."""

    steps: Sequence[Step]
    _left: deque[Step] = field(init=False)
    _failed: set[int] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        self._left = deque(self.steps)

    def ask(self) -> Step | None:
        """Return the next step; None when the plan is used up, whatever is left of the budget."""
        while self._left:
            step = self._left.popleft()
            if step.candidate not in self._failed:
                return step
        return None

    def tell(self, step: Step, points: Sequence[Point], *, failed: bool) -> None:
        """Take note of a failure, and of nothing else."""
        if failed:
            self._failed.add(step.candidate)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferOnly:
    """Foretune's own method: learn from the past tasks, plan by meta-features, look at nothing after that."""

    name: str = OURS
    uses_budget: bool = True
    without: frozenset[str] = frozenset()
    """Parts of the recommender to leave out; see ``Recommender.fit``."""

    def learn(self, others: MetaDataset, *, seed: int) -> Start:
        """Fit a recommender.

        Args:
            others: The meta-dataset without the task that comes.
            seed: Of the fit.

        Returns:
            What plans for a task.
        """
        recommender = Recommender.fit(others, seed=seed, without=self.without)

        def start(problem: Problem) -> Optimiser:
            """Plan; where the recommender refuses, nothing is run."""
            return FollowedPlan(planned_steps(recommender, problem))

        return start


def planned_steps(recommender: Recommender, problem: Problem) -> list[Step]:
    """Return a plan as steps among the problem's candidates.

    Args:
        recommender: That has not seen the task.
        problem: The task.

    Returns:
        The steps in order, each adding epochs; none where the recommender refuses the question, such as for a
        budget that is too small for one epoch of anything.
    """
    space = recommender.meta.space
    candidates = [space.restore(config) for config in problem.candidates]
    place_of = {config_id(config): place for place, config in reversed(list(enumerate(candidates)))}
    try:
        plan = recommender.plan(problem.features, problem.budget_s, candidates=candidates)
    except InputError as err:
        logger.warning("plan refused budget_s=%g reason=%s", problem.budget_s, err)
        return []
    steps, reached = [], dict.fromkeys(range(len(candidates)), 0)
    for choice in plan.choices:
        place = place_of[config_id(choice.config)]
        epochs = min(choice.epochs, problem.max_epochs)
        if epochs > reached[place]:
            steps.append(Step(candidate=place, epochs=epochs))
            reached[place] = epochs
    return steps
