"""What is unlike all past tasks scores above each of them, and what is like them does not.

``strangeness.json`` holds meta-features of tasks as they were measured; `python -m benchmarks.strangeness
--write tests/surrogates/models/strangeness.json --tasks FILE ...` makes it again. The tasks given are real
ones: clauses of contracts, word problems, medical questions, questions to a service desk.
"""

import functools
import json
import random
import statistics
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.distortions import DISTORTIONS
from benchmarks.strangeness import (
    ALIKE,
    GIVEN,
    PAST,
    Table,
    distorted,
    left_out_scores,
    past_tasks,
    sweep_measure,
)
from surrogates.metadataset import ROOT_MACHINE_FEATURES
from surrogates.models.strangeness import Strangeness

FIXTURE = Path(__file__).with_name("strangeness.json")
COHERENT = "answers of another task, fact by fact"
FOREIGN = "answers of another task"
UNLIKE = [way for way in DISTORTIONS if way not in (COHERENT, FOREIGN)] + [GIVEN]


@functools.cache
def measured() -> Table:
    """The meta-features of the fixture."""
    held = json.loads(FIXTURE.read_text())
    names = held.pop("names")
    return {
        kind: {task: dict(zip(names, row, strict=True)) for task, row in rows.items()}
        for kind, rows in held.items()
    }


def score(strangeness: Strangeness, features: Mapping[str, float]) -> float:
    """The score, where there is one."""
    judged = strangeness.judge(features)
    assert judged is not None
    return judged.score


def drawn(rng: np.random.Generator, tasks: int, names: int) -> list[dict[str, float]]:
    """Tasks of one kind."""
    table = np.exp(2.0 + rng.normal(size=(tasks, names)))
    return [{f"f{place}": float(value) for place, value in enumerate(row)} for row in table]


@pytest.mark.parametrize("kind", UNLIKE)
def test_every_task_unlike_all_others_is_above_every_past_task_left_out(kind: str) -> None:
    highest = max(left_out_scores(measured()[PAST]).values())
    strangeness = Strangeness(list(measured()[PAST].values()))
    assert len(measured()[kind]) >= 4
    assert all(score(strangeness, features) > highest for features in measured()[kind].values())


def test_answers_drawn_from_another_task_mostly_are() -> None:
    highest = max(left_out_scores(measured()[PAST]).values())
    strangeness = Strangeness(list(measured()[PAST].values()))
    scores = [score(strangeness, features) for features in measured()[FOREIGN].values()]
    assert statistics.median(scores) > 1.5 * highest


def test_past_tasks_and_the_same_about_other_worlds_are_usual() -> None:
    strangeness = Strangeness(list(measured()[PAST].values()))
    alike = [score(strangeness, features) for features in measured()[ALIKE].values()]
    left_out = left_out_scores(measured()[PAST]).values()
    assert max(alike) < 0.9
    assert max(left_out) < 1.01


def test_shuffled_answers_are_told_by_contradictions_without_as_many_answers() -> None:
    strangeness = Strangeness(list(measured()[PAST].values()))
    for features in measured()["shuffled answers"].values():
        judged = strangeness.judge(features)
        assert judged is not None
        assert judged.reasons[0] == "answer_disagreement with distinct_answers_share"


def test_new_tasks_of_the_same_kind_are_seldom_strange() -> None:
    rng = np.random.default_rng(0)
    for tasks, names in ((4, 4), (8, 4), (8, 30), (20, 10)):
        scores = []
        for _ in range(200 if tasks < 20 else 60):
            *past, new = drawn(rng, tasks + 1, names)
            scores.append(score(Strangeness(past), new))
        assert np.mean(np.array(scores) > 1) <= 2.0 / (tasks + 1)


@given(st.integers(5, 12), st.integers(1, 8), st.integers(0, 10_000), st.sampled_from([-1e9, 1e9]))
def test_one_number_far_off_is_strange_however_usual_the_others(
    tasks: int, names: int, seed: int, number: float
) -> None:
    rng = np.random.default_rng(seed)
    past = drawn(rng, tasks, names)
    judged = Strangeness(past).judge({**past[0], "f0": number})
    assert judged is not None
    assert judged.score > 1
    assert "f0" in judged.reasons[0]


@given(st.integers(2, 8), st.integers(1, 6), st.integers(0, 10_000))
def test_a_past_task_over_again_is_not_strange_and_their_order_does_not_count(
    tasks: int, names: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    past, (new,) = drawn(rng, tasks, names), drawn(rng, 1, names)
    strangeness = Strangeness(past)
    assert strangeness.judge(past[-1]) == Strangeness(past[::-1]).judge(past[-1])
    assert score(strangeness, past[-1]) == 0
    assert score(strangeness, new) == pytest.approx(score(Strangeness(past[::-1]), new))


def test_what_held_between_two_numbers_is_missed_where_it_breaks() -> None:
    rng = np.random.default_rng(1)
    past = [{"a": float(x), "b": float(x + 0.01 * rng.normal())} for x in np.linspace(0.0, 1.0, 9)]
    broken = Strangeness(past).judge({"a": 0.2, "b": 0.8})
    assert broken is not None
    assert broken.score > 2
    assert broken.reasons == ("a with b",)
    assert score(Strangeness(past), {"a": 0.52, "b": 0.52}) <= 1


def test_number_that_never_differed_is_strange_where_it_does() -> None:
    past = [{"wordings": 10.0, "rows": float(rows)} for rows in (100, 200, 400, 300, 150)]
    assert score(Strangeness(past), {"wordings": 10.0, "rows": 250.0}) <= 1
    assert score(Strangeness(past), {"wordings": 1.0, "rows": 250.0}) > 2


@given(st.integers(0, 1000), st.integers(1, 29))
def test_what_was_not_measured_is_left_out_on_both_sides(seed: int, missing: int) -> None:
    dice = random.Random(seed)
    past = [dict(features) for features in measured()[PAST].values()]
    gone = dice.sample(sorted(past[0]), missing)
    for features in past:
        features.update(dict.fromkeys(dice.sample(gone, dice.randrange(len(gone) + 1)), float("nan")))
    new = dict(measured()[ALIKE]["worlds:people"])
    kept = {name: value for name, value in new.items() if name not in gone}
    strangeness = Strangeness(past)
    told = strangeness.judge(kept)
    assert told == strangeness.judge({**kept, **dict.fromkeys(gone, float("nan"))})
    assert told is None if not kept else told is not None and np.isfinite(told.score)
    without = Strangeness([{k: v for k, v in features.items() if k not in gone} for features in past])
    assert (told and told.score) == pytest.approx(score(without, kept) if kept else None)


def test_lists_are_strange_even_where_no_base_model_was_asked() -> None:
    asked = {"gradient_norm", "probe_loss_drop"}
    strangeness = Strangeness(list(measured()[PAST].values()))
    for features in measured()["long answers"].values():
        kept = {k: v for k, v in features.items() if k not in asked and not k.startswith("zero_shot")}
        assert score(strangeness, kept) > 1.5


def test_speed_of_a_machine_is_no_sign() -> None:
    past = [{"rows": float(rows), "speed": 10.0} for rows in (1, 2, 3)]
    blind = Strangeness(past, ignored=["speed"])
    assert blind.judge({"rows": 4.0, "speed": 1e6}) == blind.judge({"rows": 4.0})
    assert blind.judge({"speed": 1e6}) is None


def test_nothing_is_said_with_nothing_to_compare() -> None:
    assert Strangeness([]).judge({"a": 1.0}) is None
    assert Strangeness([{"a": 1.0}]).judge({"a": 1.0}) is None
    assert Strangeness([{"a": 1.0}, {"a": float("nan")}, {}]).judge({"a": 1.0}) is None
    assert Strangeness([{}, {}]).judge({"a": 1.0}) is None
    assert Strangeness([{"a": 1.0}, {"a": 2.0}]).judge({"b": 1.0}) is None
    assert score(Strangeness([{"a": 1.0}, {"a": 2.0}]), {"a": 1.5}) == 0
    assert score(Strangeness([{"a": 1.0}, {"a": 2.0}]), {"a": 1e6}) > 1


def test_hundreds_of_numbers_are_looked_at_one_by_one() -> None:
    rng = np.random.default_rng(2)
    *past, new = drawn(rng, 30, 500)
    strangeness = Strangeness(past)
    assert score(strangeness, {**new, "f7": 1e9}) > 1 >= score(strangeness, past[0])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_strange_tasks_measured_anew_are_above_every_past_task(tmp_path: Path) -> None:
    measure, tasks = sweep_measure(tmp_path), past_tasks()
    past = {name: measure(task) for name, task in tasks.items()}
    assert not set(ROOT_MACHINE_FEATURES) & set(past["worlds:laws"])
    for name, features in past.items():
        assert features == pytest.approx(measured()[PAST][name], rel=1e-2, abs=1e-3)
    highest, strangeness = max(left_out_scores(past).values()), Strangeness(list(past.values()))
    for name, way in (
        ("worlds:software", "shuffled answers"),
        ("worlds:towns", "shuffled answers"),
        ("worlds:organisms", "random text"),
    ):
        assert score(strangeness, measure(distorted(name, tasks, way))) > highest
