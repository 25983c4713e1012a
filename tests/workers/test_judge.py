"""A judge's mean is of verdicts that a model gave, and what got none is counted and in no mean."""

import json
import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.contracts import InputError
from tests.support.endpoint import Body, FakeEndpoint, cut_short, status
from workers.judge import Judge, JudgedItem, JudgeSettings


def verdict_of(body: Body) -> str:
    """Judge as the answer itself demands: `partial: ...`."""
    (given,) = re.findall(r"<student_answer>\n(.*)\n</student_answer>", body["messages"][1]["content"])
    verdict = given.partition(":")[0]
    return json.dumps({"reason": "as demanded", "verdict": verdict}) if verdict != "mute" else "I can't say."


@pytest.fixture
def endpoint() -> Iterator[FakeEndpoint]:
    with FakeEndpoint(verdict_of) as fake:
        yield fake


def judge_of(endpoint: FakeEndpoint, **changes: Any) -> Judge:
    values: dict[str, Any] = {"url": endpoint.url, "model": "m", **changes}
    return Judge(JudgeSettings(**values), pause=lambda seconds: False)


def items(*answers: str) -> list[JudgedItem]:
    return [JudgedItem(f"Question {index}?", "gold", answer) for index, answer in enumerate(answers)]


def test_mean_is_of_verdicts_and_what_gets_none_is_counted_apart(endpoint: FakeEndpoint) -> None:
    judgement = judge_of(endpoint).score(items("correct: a", "partial: b", "incorrect: c", "mute: d"))
    assert (judgement.mean, judgement.judged, judgement.failed) == (0.5, 3, 1)
    assert judgement.prompt_tokens == sum(
        len(message["content"].split()) for body in endpoint.answered for message in body["messages"]
    )
    assert judgement.completion_tokens > 0
    assert judgement.seconds > 0


@settings(deadline=None, max_examples=20)
@given(st.lists(st.sampled_from(["correct", "partial", "incorrect", "mute"]), max_size=12), st.integers(1, 5))
def test_mean_lies_in_range_and_every_answer_is_judged_or_failed(verdicts: list[str], most: int) -> None:
    with FakeEndpoint(verdict_of) as endpoint:
        judgement = judge_of(endpoint, max_examples=most).score(items(*(f"{v}: x" for v in verdicts)))
    scores = [{"correct": 1.0, "partial": 0.5, "incorrect": 0.0}[v] for v in verdicts[:most] if v != "mute"]
    assert judgement.mean == (pytest.approx(sum(scores) / len(scores)) if scores else None)
    assert (judgement.judged, judgement.failed) == (len(scores), min(most, len(verdicts)) - len(scores))


def test_question_gold_and_answer_are_shown_word_for_word_and_deterministically_asked(
    endpoint: FakeEndpoint,
) -> None:
    judge_of(endpoint).score([JudgedItem("What is $1?", "a ${dollar}", "correct: $$ \\g<0>")])
    (body,) = endpoint.bodies
    assert "What is $1?" in body["messages"][1]["content"]
    assert "a ${dollar}" in body["messages"][1]["content"]
    assert "correct: $$ \\g<0>" in body["messages"][1]["content"]
    assert (body["temperature"], body["seed"]) == (0, 0)
    schema = body["response_format"]["json_schema"]["schema"]
    assert list(schema["properties"]) == ["reason", "verdict"]
    assert schema["additionalProperties"] is False


def test_gold_answer_itself_and_what_was_judged_before_are_not_asked_about(endpoint: FakeEndpoint) -> None:
    judge = judge_of(endpoint)
    twice = [*items("gold ", "partial: a"), JudgedItem("Question 1?", "gold", "partial: a")]
    first = judge.score(twice)
    assert (first.mean, first.judged, len(endpoint.bodies)) == (2 / 3, 3, 1)
    again = judge.score(twice)
    assert (again.mean, again.judged, again.prompt_tokens, len(endpoint.bodies)) == (2 / 3, 3, 0, 1)


def test_answer_without_a_verdict_is_asked_about_again_next_time(endpoint: FakeEndpoint) -> None:
    judge = judge_of(endpoint)
    assert judge.score(items("mute: a")).failed == 1
    endpoint.answer = lambda body: '{"reason": "", "verdict": "correct"}'
    assert judge.score(items("mute: a")).mean == 1


def test_passing_trouble_changes_no_verdict(endpoint: FakeEndpoint) -> None:
    endpoint.troubles.extend([status(429, headers={"Retry-After": "3"}), cut_short, status(500)])
    judgement = judge_of(endpoint, concurrency=1).score(items("partial: a", "correct: b"))
    assert (judgement.mean, judgement.failed) == (0.75, 0)


@pytest.mark.parametrize("code", [500, 401, 404])
def test_endpoint_that_goes_away_is_not_asked_answer_by_answer(endpoint: FakeEndpoint, code: int) -> None:
    judge = judge_of(endpoint, concurrency=1)
    judge.score(items("correct: a"))
    endpoint.bodies.clear()
    endpoint.troubles.extend([status(code)] * 99)
    judgement = judge.score(items("correct: a", *(f"correct: {n}" for n in range(20))))
    assert (judgement.mean, judgement.judged, judgement.failed) == (1, 1, 20)
    assert len(endpoint.bodies) <= 4


def test_nothing_to_judge_has_no_mean(endpoint: FakeEndpoint) -> None:
    judgement = judge_of(endpoint).score([])
    assert (judgement.mean, judgement.judged, judgement.failed) == (None, 0, 0)


def test_check_judges_one_answer(endpoint: FakeEndpoint) -> None:
    endpoint.answer = lambda body: '{"reason": "", "verdict": "correct"}'
    judge_of(endpoint).check()
    assert len(endpoint.answered) == 1


def test_check_refuses_a_model_that_can_not_judge(endpoint: FakeEndpoint) -> None:
    endpoint.answer = lambda body: "As a parrot, I can't."
    with pytest.raises(InputError, match="model 'm' can't be the judge: none of 3 answers"):
        judge_of(endpoint).check()
    with pytest.raises(InputError, match="has no model 'n'"):
        judge_of(endpoint, model="n").check()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"max_examples": 0}, "max_examples of the judge must be at least 1, got 0"),
        ({"url": "nowhere"}, "no URL"),
        ({"concurrency": 0}, "concurrency"),
    ],
)
def test_settings_that_can_not_be_are_refused(changes: dict[str, Any], problem: str) -> None:
    values: dict[str, Any] = {"url": "http://host/v1", "model": "m", **changes}
    with pytest.raises(InputError, match=problem):
        JudgeSettings(**values)


def test_key_that_is_not_set_is_refused_where_the_judge_is_made(endpoint: FakeEndpoint) -> None:
    assert "NO_SUCH_KEY" not in os.environ
    with pytest.raises(InputError, match="NO_SUCH_KEY"):
        judge_of(endpoint, api_key_env="NO_SUCH_KEY")
