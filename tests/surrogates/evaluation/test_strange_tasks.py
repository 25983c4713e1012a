"""For a task unlike all others the plan is at least as good as the average-rank portfolio.

The tasks' best learning rate moves with a factor that the meta-feature ``hint`` tells. Of a strange task it
tells the opposite, as those of a task of another kind may: whoever believes it begins with learning rates
that diverge.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest

from benchmarks.strangeness import left_out_scores
from surrogates.baselines.portfolios import AverageRank
from surrogates.data.tables import PastTask
from surrogates.evaluation.ours import FollowedPlan, planned_steps
from surrogates.evaluation.regret import normalised_regret, rulers
from surrogates.evaluation.replay import Replay
from surrogates.metadataset import MetaDataset
from surrogates.recommender import Recommender
from surrogates.stepwise import Start
from tests.surrogates.synthetic import World, make

SEEDS = range(5)
PAST, NEW = 8, 4
TOLERANCE = 0.05
"""Of mean regret; 1 is what lies between the best config and the median one."""
_CENTRE = 3.0
"""Of ``hint``."""
Distortion = Callable[[PastTask], PastTask]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A world, what was learned in it, and the tasks that are new there."""

    meta: MetaDataset
    past: MetaDataset
    learned: Recommender
    new: tuple[PastTask, ...]


@functools.cache
def case(seed: int) -> Case:
    """Make a world and learn from its first tasks."""
    meta = make(World(tasks=PAST + NEW, configs=40, epochs=3, seed=seed))
    new = tuple(task for task in meta.tasks if int(task.task_id.removeprefix("t")) >= PAST)
    past = meta.without([task.task_id for task in new])
    return Case(meta=meta, past=past, learned=Recommender.fit(past), new=new)


def hint_far_beyond(task: PastTask) -> PastTask:
    """The hint far beyond all others, on the wrong side."""
    return _telling(task, away=300.0)


def hint_wrong_and_others_far_beyond(task: PastTask) -> PastTask:
    """The hint as usual, on the wrong side; numbers that say nothing are far beyond all others."""
    return _telling(task, away=1.5, noise=-1e3, level=1e3)


def hint_wrong_and_noise_beyond(task: PastTask) -> PastTask:
    """The same, and only one other number, not so far: in some worlds a past task is as strange."""
    return _telling(task, away=1.5, noise=-20.0)


def _telling(task: PastTask, *, away: float, **others: float) -> PastTask:
    wrong_side = -np.sign(task.features["hint"] - _CENTRE)
    return replace(task, features={**task.features, "hint": _CENTRE + away * wrong_side, **others})


FAR = (hint_far_beyond, hint_wrong_and_others_far_beyond)


def strangeness(case: Case, task: PastTask) -> float:
    """What is said of a task that has not been learned from."""
    judged = case.learned.strangeness.judge(task.features)
    assert judged is not None
    return judged.score


def regrets(case: Case, task: PastTask, budget: float) -> tuple[float, float]:
    """What the plan and the average-rank portfolio come to on a task."""
    played = Replay(case.meta, task)
    by = rulers(case.meta, played).metric
    starts: tuple[Start, ...] = (
        lambda problem: FollowedPlan(planned_steps(case.learned, problem)),
        AverageRank().learn(case.past, seed=0),
    )
    losses = [played.run(start, budget * played.median_cost_s)["loss"].iloc[-1] for start in starts]
    ours, average = (float(normalised_regret(loss, by.best, by.gap)) for loss in losses)
    return ours, average


@pytest.mark.parametrize("make_strange", FAR)
def test_a_strange_task_scores_above_every_past_task(make_strange: Distortion) -> None:
    for seed in SEEDS:
        world = case(seed)
        features = {task.name: dict(task.features) for task in world.past.tasks}
        usual = max(left_out_scores(features).values())
        assert all(strangeness(world, make_strange(task)) > usual for task in world.new)


@pytest.mark.parametrize("make_strange", [*FAR, hint_wrong_and_noise_beyond])
@pytest.mark.parametrize("budget", [1.0, 3.0])
def test_for_a_strange_task_the_plan_is_as_good_as_the_average_rank_portfolio(
    make_strange: Distortion, budget: float
) -> None:
    strange = [
        (world, odd)
        for world in map(case, SEEDS)
        for odd in map(make_strange, world.new)
        if strangeness(world, odd) > 1
    ]
    assert len(strange) > len(SEEDS) * NEW / 2
    ours, average = np.mean([regrets(world, odd, budget) for world, odd in strange], axis=0)
    assert ours <= average + TOLERANCE
