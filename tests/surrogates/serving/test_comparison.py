"""A new state is taken only where it knows no less and errs no more on the same new trials."""

from dataclasses import replace

import numpy as np
import pytest

from surrogates.metadataset import MetaDataset
from surrogates.serving.comparison import judge
from tests.surrogates.synthetic import World, make

CLEAN = ("t0", "t1", "t2")
BEFORE = 14


@pytest.fixture(scope="module")
def whole() -> MetaDataset:
    return make(World(tasks=8, configs=34, epochs=2, informative=False, strength=0.0))


def part(meta: MetaDataset, first: int) -> MetaDataset:
    """The meta-dataset with the first so many configs of every task only."""
    kept = meta.trials["config_id"].map(lambda key: int(key[1:]) < first)
    trials = meta.trials[kept].reset_index(drop=True)
    points = meta.points[meta.points["trial_id"].isin(trials["trial_id"])].reset_index(drop=True)
    configs = {key: config for key, config in meta.configs.items() if int(key[1:]) < first}
    return replace(meta, trials=trials, points=points, configs=configs)


def poisoned(meta: MetaDataset) -> MetaDataset:
    """The same turned upside down, but for the tasks with most new trials."""
    dropped = meta.trials[~meta.trials["task_id"].isin(CLEAN) & (meta.trials["config_id"] == "c33")][
        "trial_id"
    ]
    trials = meta.trials[~meta.trials["trial_id"].isin(dropped)].reset_index(drop=True)
    points = meta.points[~meta.points["trial_id"].isin(dropped)].reset_index(drop=True)
    turned = trials[~trials["task_id"].isin(CLEAN)]["trial_id"]
    values = np.where(points["trial_id"].isin(turned), 1.0 / points["value"], points["value"])
    return replace(meta, points=points.assign(value=values), trials=trials)


def test_more_of_the_same_is_taken(whole: MetaDataset) -> None:
    verdict = judge(part(whole, BEFORE), whole)
    assert verdict.accepted, verdict.reason
    assert verdict.trials >= 30
    assert verdict.error_before is not None
    assert verdict.error_after is not None
    assert "not worse by more than chance" in verdict.reason


def test_what_makes_the_answers_worse_is_not_taken(whole: MetaDataset) -> None:
    verdict = judge(part(whole, BEFORE), poisoned(whole))
    assert set(verdict.tasks) == {"task 0", "task 1", "task 2"}
    assert not verdict.accepted, verdict.reason
    assert "worse by more than chance" in verdict.reason


def test_what_knows_less_is_not_taken(whole: MetaDataset) -> None:
    verdict = judge(whole, part(whole, BEFORE))
    assert not verdict.accepted
    assert f"trials {8 * BEFORE}, were {8 * 34}" in verdict.reason


def test_few_new_trials_are_taken_without_a_comparison(whole: MetaDataset) -> None:
    alone = part(whole, 12).without([f"t{number}" for number in range(1, 8)])
    verdict = judge(part(alone, 11), alone)
    assert verdict.accepted
    assert "too few" in verdict.reason
