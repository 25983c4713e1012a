"""Answers of a declared shape: asked for, read, checked, and asked for again with what was wrong."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from orchestrator.contracts import digest
from workers.endpoint.client import ChatClient
from workers.endpoint.dialect import in_words
from workers.endpoint.errors import UnusableAnswerError
from workers.endpoint.records import Message, Usage

ATTEMPTS = 3
"""How often a model may answer one question before it counts as unanswered."""

Shape = TypeVar("Shape", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question(Generic[Shape]):
    """What a model is asked, and the shape its answer has to have."""

    messages: tuple[Message, ...]
    shape: type[Shape]
    max_tokens: int

    def schema(self) -> Mapping[str, Any]:
        """Return the JSON Schema of the answer."""
        return self.shape.model_json_schema()

    def key(self, model: str, seed: int) -> str:
        """Return a hash of all that the answer depends on, but for the server behind it."""
        turns = [[message.role, message.content] for message in self.messages]
        return digest([model, seed, turns, self.schema(), self.max_tokens])


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Generic[Shape]):
    """What a model answered, and what that cost."""

    value: Shape
    usage: Usage


def ask(client: ChatClient, question: Question[Shape]) -> Answer[Shape]:
    """Ask until the answer has its shape; each time the model is told what was wrong with the one before.

    Args:
        client: Of the model.
        question: What to ask.

    Returns:
        The answer, with the cost of those before it.

    Raises:
        UnusableAnswerError: No answer had the shape.
        InputError: See ``ChatClient.complete``, as for the others.
        RequestRefusedError: The server does not take the request.
        EndpointUnavailableError: The server does not answer.
    """
    schema = question.schema()
    messages = question.messages
    usage = Usage()
    reason = ""
    for _ in range(ATTEMPTS):
        completion = client.complete(messages, schema=schema, max_tokens=question.max_tokens)
        usage += completion.usage
        try:
            return Answer(
                value=question.shape.model_validate_json(_json_part(completion.content)), usage=usage
            )
        except ValidationError as error:
            reason = _why(error) if completion.content.strip() else "it is empty"
        if completion.is_cut:
            reason = f"it was cut at {question.max_tokens} tokens; be shorter"
        last = question.messages[-1]
        note = f"An earlier answer could not be used: {reason}. {in_words(schema)}"
        messages = (*question.messages[:-1], replace(last, content=f"{last.content}\n\n{note}"))
    raise UnusableAnswerError(f"none of {ATTEMPTS} answers could be used; of the last, {reason}", usage)


def _json_part(content: str) -> str:
    """Return what stands between the outermost braces, past what a reasoning model thought aloud."""
    said = content.rpartition("</think>")[2]
    start, end = said.find("{"), said.rfind("}")
    return said[start : end + 1] if 0 <= start < end else said


def _why(error: ValidationError) -> str:
    """Return the first fault in a few words."""
    fault = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in fault["loc"])
    return f"{place}: {fault['msg']}" if place else str(fault["msg"])
