"""How much of the protocol a server speaks: what it refuses is said in simpler terms."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

from workers.endpoint.records import Message


class Structure(IntEnum):
    """How a server is told what shape the answer has, the strictest first."""

    JSON_SCHEMA = 0
    """The server holds the model to the schema."""
    JSON_OBJECT = 1
    """The server holds the model to JSON; the schema is shown to the model."""
    TEXT = 2
    """The schema is shown to the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What requests to a server hold."""

    structure: Structure = Structure.JSON_SCHEMA
    tokens_name: str = "max_tokens"
    """What OpenAI's reasoning models call ``max_completion_tokens``."""
    has_temperature: bool = True
    has_seed: bool = True

    def body(
        self,
        *,
        model: str,
        messages: Sequence[Message],
        schema: Mapping[str, Any],
        max_tokens: int,
        seed: int,
    ) -> dict[str, Any]:
        """Return a request's body.

        Args:
            model: The model's name.
            messages: The chat so far.
            schema: JSON Schema of the answer; its ``title`` names it.
            max_tokens: Cap on the answer.
            seed: For the server's sampling.

        Returns:
            JSON-like values.
        """
        turns = [{"role": message.role, "content": message.content} for message in messages]
        body: dict[str, Any] = {"model": model, "messages": turns, self.tokens_name: max_tokens}
        if self.has_temperature:
            body["temperature"] = 0
        if self.has_seed:
            body["seed"] = seed
        if self.structure is not Structure.TEXT:
            body["response_format"] = {"type": self.structure.name.lower()}
        if self.structure is Structure.JSON_SCHEMA:
            body["response_format"]["json_schema"] = {
                "name": schema["title"],
                "schema": schema,
                "strict": True,
            }
        else:
            turns[-1]["content"] += f"\n\n{in_words(schema)}"
        return body

    def without(self, refusal: str) -> "Dialect | None":
        """Return a simpler dialect, without what the server refused.

        Args:
            refusal: What the server said; where it names nothing that we know, the answer's shape is meant.

        Returns:
            The dialect, or None where there is nothing left to leave out.
        """
        if "temperature" in refusal and self.has_temperature:
            return replace(self, has_temperature=False)
        if "max_completion_tokens" in refusal and self.tokens_name == "max_tokens":
            return replace(self, tokens_name="max_completion_tokens")
        if re.search(r"\bseed\b", refusal) and self.has_seed:
            return replace(self, has_seed=False)
        if self.structure is Structure.TEXT:
            return None
        return replace(self, structure=Structure(self.structure + 1))


def in_words(schema: Mapping[str, Any]) -> str:
    """Return what to tell a model that does not see the schema otherwise."""
    return (
        "Answer with one JSON object and nothing else. It has to fit this JSON Schema:\n"
        f"{json.dumps(schema, ensure_ascii=False)}"
    )
