"""Batches of pretraining text: each a function of corpus, tokenizer and step."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerBase

from workers.models.tokenizer import ASSISTANT, END, USER
from workers.tasks.records import Example
from workers.worlds import PretrainingCorpus
from workers.worlds.dice import Dice

STEPS_PER_BLOCK = 8
"""Steps whose examples are drawn together and sorted by length: padding falls from a half to a tenth."""


@dataclass(frozen=True, slots=True)
class TextBatch:
    """Padded examples, the padding on the right."""

    input_ids: torch.Tensor
    """Shape ``(examples, tokens)``."""
    weights: torch.Tensor
    """Weight of each next token's loss, shape ``(examples, tokens - 1)``: 1 in answers, 0 in padding."""
    tokens: int
    """Tokens without padding."""


def encode_text(
    tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example]
) -> list[tuple[list[int], list[int]]]:
    """Return each example's prompt and answer tokens, both with their chat marks."""
    prompts = [f"{USER} {example.question}{END}{ASSISTANT}" for example in examples]
    answers = [f" {example.answer}{END}" for example in examples]
    encoded = [tokenizer(texts, add_special_tokens=False)["input_ids"] for texts in (prompts, answers)]
    return list(zip(*encoded, strict=True))


def pad_batch(
    encoded: Sequence[tuple[list[int], list[int]]], *, pad_token_id: int, prompt_weight: float
) -> TextBatch:
    """Pad encoded examples to the longest."""
    width = max(map(_length, encoded))
    input_ids = torch.full((len(encoded), width), pad_token_id)
    weights = torch.zeros((len(encoded), width - 1))
    for row, (prompt, answer) in enumerate(encoded):
        whole = len(prompt) + len(answer)
        input_ids[row, :whole] = torch.tensor([*prompt, *answer])
        weights[row, : len(prompt) - 1] = prompt_weight
        weights[row, len(prompt) - 1 : whole - 1] = 1.0
    return TextBatch(input_ids, weights, sum(map(_length, encoded)))


def _length(pair: tuple[list[int], list[int]]) -> int:
    """Return the tokens of a prompt and its answer."""
    return len(pair[0]) + len(pair[1])


class BatchSource:
    """Pretraining batches by step, counted from 0."""

    def __init__(
        self,
        corpus: PretrainingCorpus,
        tokenizer: PreTrainedTokenizerBase,
        *,
        examples_per_step: int,
        prompt_weight: float,
    ) -> None:
        """Take what the batches are made of.

        Args:
            corpus: Where examples are drawn.
            tokenizer: Of the model.
            examples_per_step: Examples of a batch, on average over a block of steps.
            prompt_weight: Weight of the loss of a prompt's tokens; an answer's have 1.
        """
        self._corpus = corpus
        self._tokenizer = tokenizer
        self._examples_per_block = examples_per_step * STEPS_PER_BLOCK
        self._prompt_weight = prompt_weight
        self._block = -1
        self._batches: list[TextBatch] = []

    def batch(self, step: int) -> TextBatch:
        """Return the batch of a step."""
        block, place = divmod(step, STEPS_PER_BLOCK)
        if block != self._block:
            self._block, self._batches = block, self._make_block(block)
        return self._batches[place]

    def _make_block(self, block: int) -> list[TextBatch]:
        """Cut a block's examples, sorted by length, into batches of about as many padded tokens each."""
        encoded = encode_text(self._tokenizer, self._corpus.examples(block, self._examples_per_block))
        encoded.sort(key=_length)
        share = sum(map(_length, encoded)) / STEPS_PER_BLOCK
        groups: list[list[tuple[list[int], list[int]]]] = [[] for _ in range(STEPS_PER_BLOCK)]
        before = 0
        for pair in encoded:
            groups[min(STEPS_PER_BLOCK - 1, int(before / share))].append(pair)
            before += _length(pair)
        pad_token_id = self._tokenizer.pad_token_id
        batches = [
            pad_batch(group, pad_token_id=pad_token_id, prompt_weight=self._prompt_weight) for group in groups
        ]
        return Dice("blocks", self._corpus.seed, block).shuffled(batches)
