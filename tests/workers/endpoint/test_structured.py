"""An answer has the shape that was asked for, or is asked for again with what was wrong."""

from collections.abc import Iterator

import pytest
from pydantic import BaseModel, ConfigDict

from tests.support.endpoint import Body, FakeEndpoint
from workers.endpoint import ChatClient, EndpointSettings, Message, Question, UnusableAnswerError, ask
from workers.endpoint.structured import ATTEMPTS


class Reply(BaseModel):
    model_config = ConfigDict(extra="forbid")

    colours: list[str]


QUESTION = Question(
    messages=(Message("system", "Answer."), Message("user", "Which colours?")), shape=Reply, max_tokens=9
)
GOOD = '{"colours": ["blue"]}'


@pytest.fixture
def endpoint() -> Iterator[FakeEndpoint]:
    with FakeEndpoint(lambda body: GOOD) as fake:
        yield fake


def client_of(endpoint: FakeEndpoint) -> ChatClient:
    return ChatClient(EndpointSettings(url=endpoint.url, model="m"))


def last_turn(body: Body) -> str:
    return str(body["messages"][-1]["content"])


@pytest.mark.parametrize(
    "content",
    [
        GOOD,
        f"```json\n{GOOD}\n```",
        f"Sure! Here it is:\n{GOOD}\nAnything else?",
        f'<think>Perhaps {{"colours": 7}}?</think>\n{GOOD}',
    ],
)
def test_answer_is_found_in_what_models_put_around_it(endpoint: FakeEndpoint, content: str) -> None:
    endpoint.answer = lambda body: content
    assert ask(client_of(endpoint), QUESTION).value == Reply(colours=["blue"])
    assert len(endpoint.bodies) == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "it is empty"),
        ("blue", "Invalid JSON"),
        ('{"colours": ["blue"', "Invalid JSON"),
        ('{"colours": 7}', "colours: Input should be a valid array"),
        ('{"colours": [], "sure": true}', "sure: Extra inputs are not permitted"),
    ],
)
def test_answer_of_another_shape_is_asked_for_again_with_what_was_wrong(
    endpoint: FakeEndpoint, content: str, reason: str
) -> None:
    endpoint.answer = lambda body: GOOD if "earlier answer" in last_turn(body) else content
    answer = ask(client_of(endpoint), QUESTION)
    assert answer.value == Reply(colours=["blue"])
    first, second = endpoint.bodies
    assert last_turn(first) == "Which colours?"
    assert reason in last_turn(second)
    assert '"colours"' in last_turn(second)
    assert answer.usage.requests == 2
    assert answer.usage.completion_tokens == len(content.split()) + len(GOOD.split())


def test_model_that_never_answers_right_is_given_up_with_its_cost(endpoint: FakeEndpoint) -> None:
    endpoint.answer = lambda body: "no"
    with pytest.raises(UnusableAnswerError, match=f"none of {ATTEMPTS} answers .* Invalid JSON") as caught:
        ask(client_of(endpoint), QUESTION)
    assert caught.value.usage.requests == ATTEMPTS
    assert caught.value.usage.completion_tokens == ATTEMPTS


def test_key_of_a_question_is_of_its_content_model_and_seed() -> None:
    same = Question(messages=tuple(QUESTION.messages), shape=Reply, max_tokens=9)
    other = Question(messages=QUESTION.messages[1:], shape=Reply, max_tokens=9)
    longer = Question(messages=QUESTION.messages, shape=Reply, max_tokens=10)
    keys = [
        QUESTION.key("m", 0),
        other.key("m", 0),
        longer.key("m", 0),
        QUESTION.key("n", 0),
        QUESTION.key("m", 1),
    ]
    assert same.key("m", 0) == keys[0]
    assert len(set(keys)) == len(keys)
