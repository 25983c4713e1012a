"""Greedy answers, continued from the first token at which teacher forcing and the model part.

Notation: an example's prompt has ``p`` tokens and its gold answer, end mark included, ``a``. Teacher forcing
tells the model's choice after the prompt and ``k`` gold tokens for every ``k < a`` at once. As long as the
choices are the gold tokens, the greedy answer is the gold answer; at the first that is not, the greedy answer
has the choice instead, and only from there on tokens have to be generated one by one. The key-value cache
that teacher forcing filled is kept: its places from ``p + k`` on are masked, new tokens come after them.

Layers that see a window of so many places back would count the masked ones, too; where that matters, each
row is moved to the right end of the cache first. A decoder's rows all begin at the same place: they go back
to the smallest ``k`` together, nothing is masked, and the encoder is not run again. Architectures not known
to continue from anywhere generate the open answers from their prompts, by transformers' own decoder.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from transformers import GenerationConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from workers.models.architectures import REWINDABLE
from workers.training.batches import Batch
from workers.training.encoding import EncodedExample
from workers.training.forward import Pass
from workers.training.virtual import VirtualTokens


@dataclass(slots=True, kw_only=True)
class _Row:
    """One answer that is not finished."""

    index: int
    """The example's place in the batch."""
    prompt: tuple[int, ...]
    agreed: int
    """Gold tokens before the first other choice."""
    answer: list[int]
    most_tokens: int

    def is_open(self, end_tokens: frozenset[int]) -> bool:
        """Whether the answer goes on."""
        return len(self.answer) < self.most_tokens and self.answer[-1] not in end_tokens


def greedy_answers(
    model: PreTrainedModel,
    examples: Sequence[EncodedExample],
    batch: Batch,
    forced: Pass,
    *,
    most_tokens: Sequence[int],
    end_tokens: frozenset[int],
    virtual: VirtualTokens | None = None,
) -> list[list[int]]:
    """Return the tokens a greedy decoder answers with.

    Args:
        model: A language model in evaluation mode.
        examples: Those of the batch, in its order.
        batch: The teacher-forced batch, neither packed nor with prompt targets.
        forced: The pass over it, with its cache; the cache is used up.
        most_tokens: Cap on each answer's tokens.
        end_tokens: Tokens that end an answer.
        virtual: What stood before the text, or None.

    Returns:
        For each example the answer's tokens, without the end mark.
    """
    answers: list[list[int]] = []
    open_rows: list[_Row] = []
    flat = forced.logits.argmax(dim=-1).tolist()
    start = 0
    for index, example in enumerate(examples):
        gold = example.answer_tokens
        chosen = flat[start : start + len(gold)]
        start += len(gold)
        agreed = next((place for place, token in enumerate(gold) if chosen[place] != token), len(gold))
        row = _Row(
            index=index,
            prompt=example.tokens[: example.prompt_tokens],
            agreed=agreed,
            answer=chosen[: min(agreed + 1, most_tokens[index])],
            most_tokens=most_tokens[index],
        )
        answers.append(row.answer)
        if agreed < len(gold) and row.is_open(end_tokens):
            open_rows.append(row)
    if open_rows and forced.encoder_states is not None:
        _continue(open_rows, _DecoderSteps(model, open_rows, forced), end_tokens)
    elif open_rows and _can_continue(model, batch.input_ids.shape[1] + max(most_tokens)):
        before = 0 if virtual is None else virtual.count
        _continue(open_rows, _CausalSteps(model, open_rows, forced, before), end_tokens)
    elif open_rows:
        _generate(model, open_rows, end_tokens)
    return [answer[:-1] if answer and answer[-1] in end_tokens else answer for answer in answers]


def _can_continue(model: PreTrainedModel, places: int) -> bool:
    """Whether texts of so many places can go on from any place of a causal model's key-value cache."""
    config = model.config
    if config.model_type not in REWINDABLE:
        return False
    # These turn all places by other angles as soon as a text is longer than the model was first made for.
    rope = getattr(config, "rope_parameters", None) or {}
    changes = rope.get("rope_type") in ("longrope", "dynamic")
    first = getattr(config, "original_max_position_embeddings", None) or config.max_position_embeddings
    return not changes or places <= first


def _continue(rows: list[_Row], steps: "_Steps", end_tokens: frozenset[int]) -> None:
    """Extend the rows' answers token by token, in place, until each has ended or is full."""
    last = [row.answer[-1] for row in rows]
    while rows:
        last = steps.next_tokens(last)
        kept = []
        for place, (row, token) in enumerate(zip(rows, last, strict=True)):
            if row.is_open(end_tokens):
                row.answer.append(token)
                if row.is_open(end_tokens):
                    kept.append(place)
        if 2 * len(kept) <= len(rows):
            rows, last = [rows[place] for place in kept], [last[place] for place in kept]
            if rows:
                steps.keep(kept)


class _Steps(Protocol):
    """A batch of texts in generation."""

    def next_tokens(self, last: Sequence[int]) -> list[int]:
        """Put a token behind every row, and return the most likely one after it."""
        ...

    def keep(self, places: Sequence[int]) -> None:
        """Go on with these rows alone."""
        ...


class _CausalSteps:
    """Rows of a causal model: each goes on behind its own last known place."""

    def __init__(self, model: PreTrainedModel, rows: Sequence[_Row], forced: Pass, before: int) -> None:
        self._model = model
        self._cache = forced.cache
        self._chosen = torch.tensor([row.index for row in rows], device=model.device)
        known = [before + len(row.prompt) + row.agreed for row in rows]
        self._position = torch.tensor(known, device=model.device)
        width = self._cache.get_seq_length()
        if _sees_windows(model, width + max(row.most_tokens for row in rows)):
            width = max(known)
            self._move_right(width)
            self._mask = (
                torch.arange(width, device=model.device)[None, :] >= (width - self._position)[:, None]
            )
        else:
            self._cache.batch_select_indices(self._chosen)
            self._mask = torch.arange(width, device=model.device)[None, :] < self._position[:, None]

    def next_tokens(self, last: Sequence[int]) -> list[int]:
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(last), 1)], dim=1)
        outputs = self._model(
            input_ids=torch.tensor(last, device=self._model.device)[:, None],
            attention_mask=self._mask,
            position_ids=self._position[:, None],
            past_key_values=self._cache,
            use_cache=True,
        )
        self._position = self._position + 1
        chosen: list[int] = outputs.logits[:, -1].argmax(dim=-1).tolist()
        return chosen

    def keep(self, places: Sequence[int]) -> None:
        chosen = torch.tensor(places, device=self._model.device)
        self._cache.batch_select_indices(chosen)
        self._position, self._mask = self._position[chosen], self._mask[chosen]

    def _move_right(self, width: int) -> None:
        """Let each row's known places end where the cache ends: places are as far apart as positions."""
        shift = width - self._position
        source = (torch.arange(width, device=shift.device)[None, :] - shift[:, None]).clamp(min=0)
        for layer in self._cache.layers:
            index = source[:, None, :, None].expand(-1, layer.keys.shape[1], -1, layer.keys.shape[3])
            layer.keys = layer.keys[self._chosen].gather(2, index)
            index = source[:, None, :, None].expand(-1, layer.values.shape[1], -1, layer.values.shape[3])
            layer.values = layer.values[self._chosen].gather(2, index)


class _DecoderSteps:
    """Rows of an encoder-decoder: all go on from the same place, the first at which one of them is open."""

    def __init__(self, model: PreTrainedModel, rows: Sequence[_Row], forced: Pass) -> None:
        self._model = model
        self._cache = forced.cache
        self._states: Any = forced.encoder_states
        self._mask: Any = forced.encoder_mask
        self.keep([row.index for row in rows])
        agreed = min(row.agreed for row in rows)
        decoded = self._cache.self_attention_cache
        decoded.crop(agreed + 1 - decoded.get_seq_length())
        for row in rows:
            del row.answer[agreed + 1 :]

    def next_tokens(self, last: Sequence[int]) -> list[int]:
        outputs = self._model(
            encoder_outputs=BaseModelOutput(last_hidden_state=self._states),
            attention_mask=self._mask,
            decoder_input_ids=torch.tensor(last, device=self._model.device)[:, None],
            past_key_values=self._cache,
            use_cache=True,
        )
        chosen: list[int] = outputs.logits[:, -1].argmax(dim=-1).tolist()
        return chosen

    def keep(self, places: Sequence[int]) -> None:
        chosen = torch.tensor(places, device=self._model.device)
        self._cache.batch_select_indices(chosen)
        self._states, self._mask = self._states[chosen], self._mask[chosen]


def _sees_windows(model: PreTrainedModel, places: int) -> bool:
    """Whether a layer of the model sees fewer than so many places back."""
    window = getattr(model.config, "sliding_window", None)
    return window is not None and places > window


def _generate(model: PreTrainedModel, rows: Sequence[_Row], end_tokens: frozenset[int]) -> None:
    """Answer from the prompts alone, by transformers' own greedy decoder and not the model's settings."""
    width = max(len(row.prompt) for row in rows)
    padded = [(0,) * (width - len(row.prompt)) + row.prompt for row in rows]
    lengths = torch.tensor([len(row.prompt) for row in rows])
    mask = torch.arange(width)[None, :] >= (width - lengths)[:, None]
    settings: Any = GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=False,
        max_new_tokens=max(row.most_tokens for row in rows),
        eos_token_id=sorted(end_tokens),
        pad_token_id=min(end_tokens),
    )
    before: Any = model.generation_config
    model.generation_config = settings
    try:
        generate: Any = model.generate
        whole = generate(torch.tensor(padded, device=model.device), attention_mask=mask.to(model.device))
    finally:
        model.generation_config = before
    for row, tokens in zip(rows, whole[:, width:].tolist(), strict=True):
        end = next((place for place, token in enumerate(tokens) if token in end_tokens), len(tokens) - 1)
        row.answer[:] = tokens[: min(end + 1, row.most_tokens)]
