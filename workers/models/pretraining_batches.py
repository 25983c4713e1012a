"""Batches of pretraining text: each a function of corpus, tokenizer and step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerBase

from workers.models.tokenizer import ASSISTANT, END, USER
from workers.tasks.records import Example
from workers.worlds import PretrainingCorpus
from workers.worlds.dice import Dice

STEPS_PER_BLOCK = 8
"""Steps whose examples are drawn together and sorted by length: padding falls from a half to a tenth."""


Encoded = tuple[list[int], list[int]]
"""Prompt and answer tokens, both with their marks."""


@dataclass(frozen=True, slots=True)
class TextBatch:
    """Padded examples, the padding on the right."""

    input_ids: torch.Tensor
    """Whole texts, or the prompts that an encoder reads; shape ``(examples, tokens)``."""
    targets: torch.Tensor
    """Next tokens, shape ``(examples, places)``."""
    weights: torch.Tensor
    """Weight of each target's loss, shape ``(examples, places)``: 1 in answers, 0 in padding."""
    tokens: int
    """Tokens without padding."""
    decoder_input_ids: torch.Tensor | None = None
    """Answers behind the mark that begins them, shape ``(examples, places)``; None without an encoder."""


def encode_text(
    tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example], *, end: str = END
) -> list[Encoded]:
    """Return each example's prompt and answer tokens, both with their chat marks; ``end`` ends an answer."""
    prompts = [f"{USER} {example.question}{END}{ASSISTANT}" for example in examples]
    answers = [f" {example.answer}{end}" for example in examples]
    encoded = [tokenizer(texts, add_special_tokens=False)["input_ids"] for texts in (prompts, answers)]
    return list(zip(*encoded, strict=True))


def pad_batch(encoded: Sequence[Encoded], *, pad_token_id: int, prompt_weight: float) -> TextBatch:
    """Pad encoded examples to the longest."""
    width = max(map(_length, encoded))
    input_ids = torch.full((len(encoded), width), pad_token_id)
    weights = torch.zeros((len(encoded), width - 1))
    for row, (prompt, answer) in enumerate(encoded):
        whole = len(prompt) + len(answer)
        input_ids[row, :whole] = torch.tensor([*prompt, *answer])
        weights[row, : len(prompt) - 1] = prompt_weight
        weights[row, len(prompt) - 1 : whole - 1] = 1.0
    return TextBatch(input_ids, input_ids[:, 1:], weights, sum(map(_length, encoded)))


def pad_pairs(encoded: Sequence[Encoded], *, pad_token_id: int, decoder_start: int) -> TextBatch:
    """Pad prompts for an encoder and answers for a decoder, each to the longest."""
    prompts = _padded([prompt for prompt, _ in encoded], pad_token_id)
    targets = _padded([answer for _, answer in encoded], pad_token_id)
    begun = _padded([[decoder_start, *answer[:-1]] for _, answer in encoded], pad_token_id)
    lengths = torch.tensor([len(answer) for _, answer in encoded])
    weights = (torch.arange(targets.shape[1]) < lengths[:, None]).float()
    return TextBatch(prompts, targets, weights, sum(map(_length, encoded)), begun)


def _padded(rows: Sequence[Sequence[int]], pad_token_id: int) -> torch.Tensor:
    padded = torch.full((len(rows), max(map(len, rows))), pad_token_id)
    for place, row in enumerate(rows):
        padded[place, : len(row)] = torch.tensor(row)
    return padded


def _length(pair: Encoded) -> int:
    """Return the tokens of a prompt and its answer."""
    return len(pair[0]) + len(pair[1])


class BatchSource:
    """Pretraining batches by step, counted from 0."""

    def __init__(
        self,
        corpus: PretrainingCorpus,
        encode: Callable[[Sequence[Example]], list[Encoded]],
        pad: Callable[[Sequence[Encoded]], TextBatch],
        *,
        examples_per_step: int,
    ) -> None:
        """Take what the batches are made of.

        Args:
            corpus: Where examples are drawn.
            encode: Makes tokens of them.
            pad: Makes a batch of these.
            examples_per_step: Examples of a batch, on average over a block of steps.
        """
        self._corpus = corpus
        self._encode, self._pad = encode, pad
        self._examples_per_block = examples_per_step * STEPS_PER_BLOCK
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
        encoded = self._encode(self._corpus.examples(block, self._examples_per_block))
        encoded.sort(key=_length)
        share = sum(map(_length, encoded)) / STEPS_PER_BLOCK
        groups: list[list[Encoded]] = [[] for _ in range(STEPS_PER_BLOCK)]
        before = 0
        for pair in encoded:
            groups[min(STEPS_PER_BLOCK - 1, int(before / share))].append(pair)
            before += _length(pair)
        return Dice("blocks", self._corpus.seed, block).shuffled([self._pad(group) for group in groups])
