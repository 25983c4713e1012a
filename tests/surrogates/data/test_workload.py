"""Seconds follow what there is to do and how fast, beyond the range that was timed and not within."""

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surrogates.data.workload import Workload, Workloads
from surrogates.metadataset import MetaDataset
from surrogates.plan import Plan
from surrogates.recommender import Recommender
from tests.surrogates.synthetic import World, make

DECLARED = Workload(amounts=(("steps",), ("prompt", "answer")), speed="rate")
ABOVE = st.floats(1e-3, 1e3)


def task(
    *, steps: float = 2.0, prompt: float = 6.0, answer: float = 4.0, rate: float = 1.0
) -> dict[str, float]:
    return {"steps": steps, "prompt": prompt, "answer": answer, "rate": rate}


@given(st.lists(ABOVE, min_size=1), st.floats(0.0, 1.0), st.floats(1.0, 100.0), st.floats(2.6, 100.0))
def test_within_the_range_nothing_changes_and_beyond_it_all_is_in_proportion(
    steps: list[float], share: float, more: float, slower: float
) -> None:
    past = Workloads.of(DECLARED, [task(steps=count) for count in steps])
    inside = min(steps) + share * (max(steps) - min(steps))
    assert past.beyond(task(steps=inside)).seconds == pytest.approx(1.0)
    assert past.beyond(task(steps=max(steps) * more)).seconds == pytest.approx(more)
    assert past.beyond(task(steps=min(steps) / more)).seconds == pytest.approx(1 / more)
    both = past.beyond(task(steps=max(steps) * more, rate=1 / slower))
    assert (both.amount, both.speed) == pytest.approx((more, 1 / slower))
    assert both.seconds == pytest.approx(more * slower)


@given(st.floats(1 / 2.5, 2.5))
def test_a_speed_that_may_be_the_same_machines_is_taken_for_that(factor: float) -> None:
    past = Workloads.of(DECLARED, [task(), task(rate=1.5)])
    assert past.beyond(task(rate=min(max(factor, 0.4), 2.5 * 1.5))).seconds == 1.0


@pytest.mark.parametrize(
    "features",
    [{}, task(steps=0.0), task(steps=-1.0), task(prompt=math.nan), task(answer=math.inf)],
)
def test_an_amount_that_is_not_known_is_not_told(features: Mapping[str, float]) -> None:
    told = Workloads.of(DECLARED, [task()]).beyond({"rate": 0.25, **features})
    assert math.isnan(told.amount)
    assert told.seconds == pytest.approx(1 / told.speed)
    assert math.isnan(Workloads.of(DECLARED, [features]).beyond(task(steps=9.0)).amount)


def test_without_a_speed_the_amount_speaks_alone() -> None:
    past = Workloads.of(replace(DECLARED, speed=None), [task()])
    told = past.beyond(task(steps=6.0, rate=0.1))
    assert (told.amount, told.seconds) == (3.0, 3.0)
    assert math.isnan(told.speed)
    assert Workloads.of(None, [task()]).beyond(task(steps=6.0)).seconds == 1.0


def test_terms_are_told_as_they_are_worked_out() -> None:
    assert DECLARED.terms == "steps × (prompt + answer)"
    assert Workload(amounts=(("rows", "more"),)).terms == "rows + more"


def declared(workload: Workload) -> tuple[MetaDataset, dict[str, float]]:
    """A meta-dataset with a workload, and the meta-features of its largest task."""
    meta = replace(make(World(tasks=6, configs=20, epochs=3)), workload=workload)
    return meta, dict(max((task.features for task in meta.tasks), key=lambda told: told["size"]))


def first_run_s(plan: Plan) -> float:
    """Seconds of an epoch of the choice that was planned first."""
    return plan.choices[0].cost_s / plan.choices[0].epochs


def test_a_task_with_more_to_do_on_a_slower_machine_is_told_more_seconds_and_why() -> None:
    meta, features = declared(Workload(amounts=(("size",),), speed="level"))
    learned = Recommender.fit(meta)
    slowest = min(task.features["level"] for task in meta.tasks)
    only = [meta.configs[sorted(meta.configs)[0]]]
    near = learned.plan({**features, "level": slowest}, 1e6, candidates=only, k=1)
    large = {**features, "size": 5 * features["size"], "level": slowest / 4}
    far = learned.plan(large, 1e6, candidates=only, k=1)
    assert first_run_s(far) == pytest.approx(20 * first_run_s(near), rel=1e-6)
    assert not [note for note in near.notes if "in proportion" in note]
    told = [note for note in far.notes if "in proportion" in note]
    assert len(told) == 2
    assert "5 times as much to train on as that of the nearest past task (size)" in told[0]
    assert "0.25 times as fast as those that the past tasks were timed on (level)" in told[1]


def test_outcomes_do_not_move_with_the_machine() -> None:
    meta, features = declared(Workload(amounts=(("size",),), speed="rate"))
    learned = Recommender.fit(meta)
    plans = [learned.plan({**features, "rate": rate}, 1e9, k=3) for rate in (1.0, 1e-3)]
    assert plans[0].choices == plans[1].choices  # nobody timed a rate: it tells nothing
