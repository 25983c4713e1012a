"""Questions and answers as they travel."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from surrogates.plan import Choice, LearnedFrom, NearTask, PastTrial, Plan, Prediction
from surrogates.serving.questions import PLAN, decode, encode_answer, encode_question, version_of

NUMBERS = st.floats(allow_nan=False)
SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8) | NUMBERS
PREDICTIONS = st.builds(Prediction, metric=st.text(max_size=8), value=NUMBERS, low=NUMBERS, high=NUMBERS)
TRIALS = st.builds(
    PastTrial,
    trial_id=st.text(max_size=8),
    task_id=st.text(max_size=8),
    task_name=st.text(max_size=8),
    config_distance=NUMBERS,
    outcome=st.text(max_size=8),
    epoch=st.none() | st.integers(1, 99),
    value=st.none() | NUMBERS,
    reports=st.dictionaries(st.text(max_size=4), NUMBERS, max_size=3),
)
CHOICES = st.builds(
    Choice,
    rank=st.integers(1, 40),
    config=st.dictionaries(st.text(max_size=8), SCALARS, max_size=4),
    epochs=st.integers(1, 99),
    is_fresh=st.booleans(),
    score=PREDICTIONS,
    reports=st.lists(PREDICTIONS, max_size=2).map(tuple),
    cost_s=NUMBERS,
    is_reserve=st.booleans(),
    failure_probability=NUMBERS,
    expected_regret=NUMBERS,
    evidence=st.lists(TRIALS, max_size=2).map(tuple),
)
NEAR = st.builds(
    NearTask,
    task_id=st.text(max_size=8),
    name=st.text(max_size=8),
    distance=st.none() | NUMBERS,
    weight=NUMBERS,
)
LEARNED = LearnedFrom(
    tasks=2, trials=3, points=4, base_fingerprints=("a", "b"), metric="loss", direction="minimise"
)
PLANS = st.builds(
    Plan,
    budget_s=NUMBERS,
    choices=st.lists(CHOICES, max_size=2).map(tuple),
    nearest_tasks=st.lists(NEAR, max_size=2).map(tuple),
    strangeness=st.none() | NUMBERS,
    notes=st.lists(st.text(max_size=12), max_size=2).map(tuple),
    learned_from=st.just(LEARNED),
)


@given(PLANS)
def test_answer_arrives_as_it_was_to_the_last_bit(plan: Plan) -> None:
    body = encode_answer(plan, version=7, learned_at="2026-11-30T00:00:00.000+00:00")
    answer = decode(PLAN, body)
    assert (answer.plan, answer.version, answer.learned_at) == (plan, 7, "2026-11-30T00:00:00.000+00:00")
    assert version_of(body) == 7


@given(PLANS)
def test_answer_is_the_json_that_any_reader_knows(plan: Plan) -> None:
    content = json.loads(encode_answer(plan, version=1, learned_at="now"))
    assert content == {"version": 1, "learned_at": "now", "plan": plan.as_dict()}


def test_numbers_that_json_has_no_word_for_arrive_too() -> None:
    plan = Plan(
        budget_s=np.float64(1.5),  # as numpy leaves it
        choices=(),
        nearest_tasks=(NearTask(task_id="a", name="a", distance=math.inf, weight=math.nan),),
        strangeness=None,
        notes=(),
        learned_from=replace(LEARNED, trials=np.int64(5)),  # type: ignore[arg-type]
    )
    found = decode(PLAN, encode_answer(plan, version=1, learned_at="now")).plan
    assert (found.budget_s, found.learned_from.trials) == (1.5, 5)
    assert found.nearest_tasks[0].distance == math.inf
    assert math.isnan(found.nearest_tasks[0].weight)


def test_question_that_is_not_plain_is_not_encoded() -> None:
    assert json.loads(encode_question({"budget_s": np.float32(0.5)}, 3)) == [{"budget_s": 0.5}, 3]
    with pytest.raises(TypeError, match="a set is not plain"):
        encode_question({"features": {1, 2}}, 0)
