"""Examples as tokens: the chat template's prompt, then the answer and its end mark."""

import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from orchestrator.contracts import InputError
from workers.tasks.records import SPLITS, Example, Task

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EncodedExample:
    """One example as the model sees it."""

    tokens: tuple[int, ...]
    """Prompt, answer, end mark."""
    prompt_tokens: int
    """How many of them are the prompt."""
    answer: str
    """The gold answer, as text."""

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
    truncated_prompts: int
    """Examples whose prompt lost its beginning to ``max_length_tokens``."""


def encode_examples(
    tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example], *, max_length_tokens: int, where: str
) -> tuple[list[EncodedExample], int]:
    """Encode examples; a prompt that is too long loses its beginning, an answer is never cut.

    Args:
        tokenizer: With a chat template.
        examples: Questions and answers.
        max_length_tokens: Longest prompt and answer together.
        where: What the examples are, for error messages.

    Returns:
        The encoded examples in order, and how many prompts were cut.

    Raises:
        InputError: The tokenizer has no chat template, or an answer is too long or contains a special token.
    """
    if not tokenizer.chat_template:
        raise InputError(f"the tokenizer {tokenizer.name_or_path!r} has no chat template; use a chat model's")
    special = {token: index for token, index in tokenizer.get_added_vocab().items() if token}
    prompts, wholes = [], []
    for number, example in enumerate(examples, start=1):
        clash = next((token for token in special if token in example.answer), None)
        if clash is not None:
            raise InputError(f"{where}: the answer of example {number} contains the special token {clash!r}")
        prompt, whole = _render(tokenizer, example)
        prompts.append(prompt)
        wholes.append(whole)
    if not examples:
        return [], 0
    prompt_ids = tokenizer(prompts, add_special_tokens=False)["input_ids"]
    whole_ids = tokenizer(wholes, add_special_tokens=False)["input_ids"]
    ends = {*special.values(), *tokenizer.all_special_ids}
    encoded, cut = [], 0
    for number, (example, prompt, whole) in enumerate(zip(examples, prompt_ids, whole_ids, strict=True), 1):
        answer = whole[len(prompt) :]
        if whole[: len(prompt)] != prompt:
            # A token spans the border; generation starts from the prompt alone, so the answer starts there.
            text = wholes[number - 1][len(prompts[number - 1]) :]
            answer = tokenizer(text, add_special_tokens=False)["input_ids"]
        end = next((place for place, token in enumerate(answer) if token in ends), None)
        answer = [*answer, tokenizer.eos_token_id] if end is None else answer[: end + 1]
        room = max_length_tokens - len(answer)
        if room < 1:
            raise InputError(
                f"{where}: the answer of example {number} has {len(answer)} tokens, which leaves no room for "
                f"its question in max_length_tokens = {max_length_tokens}; raise it, or leave the example out"
            )
        cut += len(prompt) > room
        kept = prompt[-room:]
        encoded.append(EncodedExample((*kept, *answer), len(kept), example.answer))
    return encoded, cut


def encode_task(tokenizer: PreTrainedTokenizerBase, task: Task, *, max_length_tokens: int) -> EncodedTask:
    """Encode a task's splits.

    Args:
        tokenizer: With a chat template.
        task: The task.
        max_length_tokens: Longest prompt and answer together.

    Returns:
        The encoded task. What can't be encoded is refused as by ``encode_examples``.
    """
    splits, cuts = {}, 0
    for split in SPLITS:
        where = f"task {task.name}, {split} split"
        examples, cut = encode_examples(
            tokenizer, task.split(split), max_length_tokens=max_length_tokens, where=where
        )
        splits[split] = tuple(examples)
        cuts += cut
    if cuts:
        fields = (task.name, cuts, max_length_tokens)
        _log.warning("prompts cut at their start task=%s count=%d max_length_tokens=%d", *fields)
    facts = tuple(example.fact for example in task.train)
    return EncodedTask(facts=facts, truncated_prompts=cuts, **splits)


class EncodingCache:
    """Encoded tasks of one worker; those unused for longest make way."""

    def __init__(self, max_tasks: int = 64) -> None:
        self._max_tasks = max_tasks
        self._encoded: OrderedDict[tuple[str, str, int], EncodedTask] = OrderedDict()

    def get(
        self, tokenizer: PreTrainedTokenizerBase, fingerprint: str, task: Task, *, max_length_tokens: int
    ) -> EncodedTask:
        """Return a task encoded by the tokenizer of this fingerprint."""
        key = (task.task_id, fingerprint, max_length_tokens)
        if key not in self._encoded:
            self._encoded[key] = encode_task(tokenizer, task, max_length_tokens=max_length_tokens)
            if len(self._encoded) > self._max_tasks:
                self._encoded.popitem(last=False)
        self._encoded.move_to_end(key)
        return self._encoded[key]


def _render(tokenizer: PreTrainedTokenizerBase, example: Example) -> tuple[str, str]:
    """Return the prompt's text, and the text of prompt, answer and what the template puts after it."""
    question = [{"role": "user", "content": example.question}]
    prompt = str(tokenizer.apply_chat_template(question, tokenize=False, add_generation_prompt=True))
    dialogue = [*question, {"role": "assistant", "content": example.answer}]
    whole = str(tokenizer.apply_chat_template(dialogue, tokenize=False, add_generation_prompt=False))
    if not whole.startswith(prompt):
        # Templates that alter the turn they opened: the answer follows the prompt as in generation.
        return prompt, prompt + example.answer + (tokenizer.eos_token or "")
    return prompt, whole
