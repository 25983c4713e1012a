"""A question and its answer as tokens, in the form that a model was made for.

- A causal model whose tokenizer has a chat template: the template's prompt, then the answer and what the
  template puts behind it, up to its first mark. Where the template knows no system turn, that text goes
  before the first question. A template that asks whether to think aloud is told not to.
- A causal model without one: what is said, a line each, then the answer and the end mark; before all that the
  marks that the tokenizer puts before any text.
- An encoder-decoder: the prompt, by the template or a line each, goes to the encoder and the answer to the
  decoder, each between the marks that the tokenizer puts around any text.

What a person wrote is never read as a mark: text that spells one is encoded as text.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from orchestrator.contracts import InputError
from workers.tasks.records import Example, Turn

_STAND_IN = "\ue000{}\ue001"
_STAND_INS = re.compile("\ue000([0-9]+)\ue001")
"""Stand in for what is said while a template is filled, so that its own marks can be told from the text's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """One example's tokens before anything is cut."""

    prompt: list[int]
    answer: list[int]
    """With the end mark."""
    first: int = 0
    """Marks at the prompt's beginning that belong before any text."""


def tokenise(
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    *,
    where: str,
    is_encoder_decoder: bool = False,
) -> list[Parts]:
    """Turn examples into tokens.

    Args:
        tokenizer: The model's.
        examples: At least one.
        where: What the examples are, for error messages.
        is_encoder_decoder: Whether the model is one.

    Returns:
        The parts of each example, in order.

    Raises:
        InputError: The tokenizer has no end mark, its template refuses an example, or it can't but read a
            text as a mark.
    """
    if is_encoder_decoder:
        return _paired(tokenizer, examples, where)
    if tokenizer.chat_template:
        return _Chat(tokenizer, where).tokenise(examples)
    return _lines(tokenizer, examples, where)


class _Chat:
    """Tokens by a chat template."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, where: str) -> None:
        self._tokenizer = tokenizer
        self._where = where
        marks = tokenizer.get_added_vocab()
        self._ends = {*marks.values(), *tokenizer.all_special_ids}
        self._marks = re.compile("|".join(re.escape(mark) for mark in marks if mark) or r"(?!)")

    def tokenise(self, examples: Sequence[Example]) -> list[Parts]:
        prompts, wholes = zip(*(self._render(e, n) for n, e in enumerate(examples, 1)), strict=True)
        found: list[Parts] = []
        for number, (example, prompt, whole, prompt_ids, whole_ids) in enumerate(
            zip(examples, prompts, wholes, self._ids(prompts), self._ids(wholes), strict=True), 1
        ):
            if any(self._marks.search(text) for text in _texts(example)):
                found.append(self._apart(example, number))
                continue
            answer = whole_ids[len(prompt_ids) :]
            if whole_ids[: len(prompt_ids)] != prompt_ids:
                # A token spans the border; generation starts from the prompt alone, so there the answer does.
                (answer,) = self._ids([whole[len(prompt) :]])
            found.append(self._parts(prompt_ids, self._ended(answer)))
        return found

    def _parts(self, prompt: list[int], answer: list[int]) -> Parts:
        return Parts(prompt=prompt, answer=answer, first=int(prompt[:1] == [self._tokenizer.bos_token_id]))

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        ids: list[list[int]] = self._tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        return ids

    def _ended(self, answer: list[int]) -> list[int]:
        """Cut behind the first mark, or put the tokenizer's own end mark behind."""
        end = next((place for place, token in enumerate(answer) if token in self._ends), None)
        return [*answer, _end_mark(self._tokenizer, self._where)] if end is None else answer[: end + 1]

    def _apart(self, example: Example, number: int) -> Parts:
        """Encode what is said apart from the template around it, because it spells a mark."""
        texts = _texts(example)
        stands = [_STAND_IN.format(place) for place in range(len(texts))]
        roles = [role for role, _ in example.context]
        blank = Example(
            question=stands[-2], answer=stands[-1], context=tuple(zip(roles, stands[:-2], strict=True))
        )
        prompt, whole = self._render(blank, number)
        said, _, tail = whole[len(prompt) :].rpartition(stands[-1])
        answer = [token for ids in self._pieces(said + stands[-1], texts, number) for token in ids]
        (tail_ids,) = self._ids([tail])
        return self._parts(
            [token for ids in self._pieces(prompt, texts, number) for token in ids],
            [*answer, *self._ended(tail_ids)],
        )

    def _pieces(self, text: str, texts: Sequence[str], number: int) -> Iterator[list[int]]:
        """Yield the tokens of a filled template: its own pieces, and between them what is said."""
        own_and_said = _STAND_INS.split(text)
        gap = ""
        for place, piece in enumerate(own_and_said):
            if place % 2:
                yield _plain_ids(self._tokenizer, gap + texts[int(piece)], f"{self._where}, example {number}")
                continue
            kept = piece.rstrip(" ")
            gap = piece[len(kept) :] if place + 1 < len(own_and_said) else ""
            yield from self._ids([piece[: len(piece) - len(gap)]])

    def _render(self, example: Example, number: int) -> tuple[str, str]:
        """Return the prompt's text, and the text of prompt, answer and what the template puts after it."""
        turns: list[Turn] = [*example.context, ("user", example.question)]
        prompt = self._prompt(turns)
        if turns[0][0] == "system" and (prompt is None or turns[0][1].strip() not in prompt):
            turns = [(turns[1][0], f"{turns[0][1]}\n\n{turns[1][1]}"), *turns[2:]]
            prompt = self._prompt(turns)
        whole = self._fill([*turns, ("assistant", example.answer)], add_generation_prompt=False)
        if prompt is None or whole is None:
            raise InputError(
                f"{self._where}: the chat template of {self._tokenizer.name_or_path!r} refuses the turns of "
                f"example {number} ({', '.join(role for role, _ in turns)}); leave it out, or take a model "
                "whose template knows such turns"
            )
        answer = example.answer.strip()
        if whole.startswith(prompt) and whole[len(prompt) :].lstrip().startswith(answer):
            return prompt, whole
        # Templates that alter the turn they opened: the answer follows the prompt as in generation.
        tail = whole.rpartition(answer)[2] if answer in whole else self._tokenizer.eos_token or ""
        return prompt, prompt + example.answer + tail

    def _prompt(self, turns: Sequence[Turn]) -> str | None:
        return self._fill(turns, add_generation_prompt=True)

    def _fill(self, turns: Sequence[Turn], *, add_generation_prompt: bool) -> str | None:
        """Fill the template; None where it refuses."""
        dialogue = [{"role": role, "content": text} for role, text in turns]
        fill: Any = self._tokenizer.apply_chat_template
        try:
            return str(
                fill(
                    dialogue,
                    tokenize=False,
                    add_generation_prompt=add_generation_prompt,
                    enable_thinking=False,
                )
            )
        except TemplateError:
            return None


def _lines(tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example], where: str) -> list[Parts]:
    """Encode what is said a line each, then the answer."""
    before, _ = _marks_around(tokenizer)
    end = _end_mark(tokenizer, where)
    found = []
    for number, example in enumerate(examples, 1):
        place = f"{where}, example {number}"
        lines = "".join(f"{text}\n" for text in _texts(example)[:-1])
        prompt = _plain_ids(tokenizer, lines, place)
        whole = _plain_ids(tokenizer, lines + example.answer, place)
        is_whole = whole[: len(prompt)] == prompt
        answer = whole[len(prompt) :] if is_whole else _plain_ids(tokenizer, example.answer, place)
        found.append(Parts(prompt=[*before, *prompt], answer=[*answer, end], first=len(before)))
    return found


def _paired(tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example], where: str) -> list[Parts]:
    """Encode prompts for an encoder and answers for a decoder."""
    before, after = _marks_around(tokenizer)
    ending = after or [_end_mark(tokenizer, where)]
    places = [f"{where}, example {number}" for number in range(1, len(examples) + 1)]
    if tokenizer.chat_template:
        prompts = [parts.prompt for parts in _Chat(tokenizer, where).tokenise(examples)]
    else:
        said = ["\n".join(_texts(example)[:-1]) for example in examples]
        bare = [_plain_ids(tokenizer, text, place) for text, place in zip(said, places, strict=True)]
        prompts = [[*before, *prompt, *after] for prompt in bare]
    answers = [_plain_ids(tokenizer, e.answer, place) for e, place in zip(examples, places, strict=True)]
    return [
        Parts(prompt=prompt, answer=[*before, *answer, *ending], first=len(before))
        for prompt, answer in zip(prompts, answers, strict=True)
    ]


def _texts(example: Example) -> list[str]:
    """Return what is said, the answer last."""
    return [*(text for _, text in example.context), example.question, example.answer]


def _end_mark(tokenizer: PreTrainedTokenizerBase, where: str) -> int:
    if tokenizer.eos_token_id is None:
        raise InputError(
            f"{where}: tokenizer {tokenizer.name_or_path!r} has no token that ends an answer; set eos_token "
            "in its tokenizer_config.json"
        )
    return int(tokenizer.eos_token_id)


def _plain_ids(tokenizer: PreTrainedTokenizerBase, text: str, place: str) -> list[int]:
    """Encode text as text, whatever marks it spells."""
    ids: list[int] = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    clash = next((token for token in ids if token in special), None)
    if clash is not None:
        mark = tokenizer.convert_ids_to_tokens(clash)
        raise InputError(
            f"{place}: the text contains the special token {mark!r}, which this tokenizer can't encode as "
            "text; leave the example out, or write the mark otherwise"
        )
    return ids


def _marks_around(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """Return what the tokenizer puts before and behind any text by itself."""
    bare: list[int] = tokenizer("a", add_special_tokens=False)["input_ids"]
    marked: list[int] = tokenizer("a")["input_ids"]
    start = next(place for place in range(len(marked)) if marked[place : place + len(bare)] == bare)
    return marked[:start], marked[start + len(bare) :]
