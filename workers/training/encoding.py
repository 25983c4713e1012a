"""Tasks as tokens, within a length: what is too long is cut, and what is cut is counted.

A prompt that is too long loses its beginning, but for marks that belong before any text. An answer that
leaves no room for the end of its prompt loses its own end, and the end mark with it.
"""

import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from transformers import PreTrainedTokenizerBase

from workers.models.facts import position_limit
from workers.tasks.records import SPLITS, Example, Task
from workers.training.formats import Parts, tokenise

if TYPE_CHECKING:
    from workers.models.base import BaseModel

_log = logging.getLogger(__name__)

_LEAST_PROMPT_TOKENS = 32
"""Tokens that an answer which is too long leaves to its prompt; where a quarter of all is less, that."""


@dataclass(frozen=True, slots=True)
class EncodedExample:
    """One example as the model sees it."""

    tokens: tuple[int, ...]
    """Prompt, answer, end mark; an encoder-decoder's encoder gets the first, its decoder the others."""
    prompt_tokens: int
    """How many of them are the prompt."""
    answer: str
    """The gold answer, as text and whole."""
    lost_prompt_tokens: int = 0
    """Tokens that the prompt lost to ``max_length_tokens``."""
    lost_answer_tokens: int = 0
    """Tokens that the answer lost, its end mark among them."""

    @property
    def answer_tokens(self) -> tuple[int, ...]:
        """The answer's tokens and the end mark: what is learned."""
        return self.tokens[self.prompt_tokens :]


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedTask:
    """The three splits of a task as tokens."""

    train: tuple[EncodedExample, ...]
    validation: tuple[EncodedExample, ...]
    test: tuple[EncodedExample, ...]
    facts: tuple[str | None, ...]
    """Of the training examples: the fact each words."""

    @property
    def truncated_prompts(self) -> int:
        """Examples whose prompt lost its beginning to ``max_length_tokens``."""
        return sum(example.lost_prompt_tokens > 0 for example in self._all())

    @property
    def truncated_answers(self) -> int:
        """Examples whose answer lost its end."""
        return sum(example.lost_answer_tokens > 0 for example in self._all())

    def _all(self) -> tuple[EncodedExample, ...]:
        return (*self.train, *self.validation, *self.test)


def encode_examples(
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    *,
    max_length_tokens: int,
    where: str,
    is_encoder_decoder: bool = False,
) -> list[EncodedExample]:
    """Encode examples in the form that the model takes.

    Args:
        tokenizer: The model's.
        examples: Questions and answers.
        max_length_tokens: Longest prompt and answer together.
        where: What the examples are, for error messages.
        is_encoder_decoder: Whether the model is one.

    Returns:
        The encoded examples in order. What can't be encoded is refused as by ``tokenise``.
    """
    if not examples:
        return []
    parts = tokenise(tokenizer, examples, where=where, is_encoder_decoder=is_encoder_decoder)
    return [
        _fit(part, example.answer, max_length_tokens) for part, example in zip(parts, examples, strict=True)
    ]


def encode_task(
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    *,
    max_length_tokens: int,
    is_encoder_decoder: bool = False,
) -> EncodedTask:
    """Encode a task's splits.

    Args:
        tokenizer: The model's.
        task: The task.
        max_length_tokens: Longest prompt and answer together.
        is_encoder_decoder: Whether the model is one.

    Returns:
        The encoded task. What can't be encoded is refused as by ``tokenise``.
    """
    splits = {
        split: tuple(
            encode_examples(
                tokenizer,
                task.split(split),
                max_length_tokens=max_length_tokens,
                where=f"task {task.name}, {split} split",
                is_encoder_decoder=is_encoder_decoder,
            )
        )
        for split in SPLITS
    }
    encoded = EncodedTask(facts=tuple(example.fact for example in task.train), **splits)
    for what, count in (("prompts", encoded.truncated_prompts), ("answers", encoded.truncated_answers)):
        if count:
            fields = (what, task.name, count, max_length_tokens)
            _log.warning("%s cut task=%s count=%d max_length_tokens=%d", *fields)
    return encoded


def encode_for(base: "BaseModel", task: Task, *, max_length_tokens: int) -> EncodedTask:
    """Encode a task as a base model takes it.

    Args:
        base: The base model.
        task: The task.
        max_length_tokens: Longest prompt and answer together; where the model has trained positions for fewer
            places, that many.

    Returns:
        The encoded task. What can't be encoded is refused as by ``tokenise``.
    """
    limit = position_limit(base.model.config)
    return encode_task(
        base.tokenizer,
        task,
        max_length_tokens=max_length_tokens if limit is None else min(max_length_tokens, limit),
        is_encoder_decoder=base.is_encoder_decoder,
    )


def end_tokens(tokenizer: PreTrainedTokenizerBase, examples: Sequence[EncodedExample]) -> frozenset[int]:
    """Return the tokens that end an answer: the marks behind those of the examples, the tokenizer's own."""
    ends = {example.tokens[-1] for example in examples if not example.lost_answer_tokens}
    return frozenset(ends if tokenizer.eos_token_id is None else ends | {tokenizer.eos_token_id})


class EncodingCache:
    """Encoded tasks of one worker; those unused for longest make way."""

    def __init__(self, max_tasks: int = 64) -> None:
        self._max_tasks = max_tasks
        self._encoded: OrderedDict[tuple[str, str, int], EncodedTask] = OrderedDict()

    def get(self, base: "BaseModel", task: Task, *, max_length_tokens: int) -> EncodedTask:
        """Return a task as a base model takes it."""
        key = (task.task_id, base.fingerprint, max_length_tokens)
        if key not in self._encoded:
            self._encoded[key] = encode_for(base, task, max_length_tokens=max_length_tokens)
            if len(self._encoded) > self._max_tasks:
                self._encoded.popitem(last=False)
        self._encoded.move_to_end(key)
        return self._encoded[key]


def _fit(parts: Parts, answer: str, max_length_tokens: int) -> EncodedExample:
    """Cut an example to a length; of prompt and answer at least one token each stays."""
    prompt = parts.prompt
    least = min(len(prompt), max(1, min(_LEAST_PROMPT_TOKENS, max_length_tokens // 4)))
    kept_answer = parts.answer[: max(1, max_length_tokens - least)]
    room = max(1, max_length_tokens - len(kept_answer))
    lost = max(0, len(prompt) - room)
    if lost:
        first = min(parts.first, room - 1)
        prompt = [*prompt[:first], *prompt[first + lost :]]
    return EncodedExample(
        tokens=(*prompt, *kept_answer),
        prompt_tokens=len(prompt),
        answer=answer,
        lost_prompt_tokens=lost,
        lost_answer_tokens=len(parts.answer) - len(kept_answer),
    )
