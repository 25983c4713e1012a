"""NEFTune: uniform noise on the input embeddings, in training only.

Notation: ``L`` the tokens of one example without padding, ``d`` the width of the embeddings, ``alpha`` the
config's ``neftune_noise_alpha``. Every component of every real token's embedding is moved by a number drawn
uniformly from ``[-alpha / sqrt(L d), alpha / sqrt(L d)]``. Of an encoder-decoder, prompt and answer are two
texts, each with its own ``L``.

The noise is keyed by trial, step and the example's place in the batch, so that it is the same however the
batch is cut into micro-batches, padded or packed.

Source: Jain et al., NEFTune: Noisy Embeddings Improve Instruction Finetuning (arXiv 2310.05914), algorithm 1.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel

from workers.training.encoding import EncodedExample
from workers.training.keys import keyed_seed


@dataclass(frozen=True, slots=True)
class EmbeddingNoise:
    """The noise of one trial."""

    model: PreTrainedModel
    trial_id: str
    alpha: float
    """0: none."""

    @contextmanager
    def on(self, step: int, places: Sequence[int], examples: Sequence[EncodedExample]) -> Iterator[None]:
        """Let one forward pass see noisy embeddings.

        Args:
            step: The optimizer step.
            places: Each example's place in the step's batch.
            examples: Those of the micro-batch, in its order.

        Yields:
            Nothing; the pass is to be run within.
        """
        if self.alpha == 0:
            yield
            return
        if self.model.config.is_encoder_decoder:
            texts = [
                [example.prompt_tokens for example in examples],
                [len(example.answer_tokens) for example in examples],
            ]
        else:
            texts = [[len(example.tokens) for example in examples]]
        # An encoder reads before its decoder does, whether or not the two share one embedding module.
        passes = iter(enumerate(texts))

        def add_noise(module: torch.nn.Module, inputs: Any, embedded: torch.Tensor) -> torch.Tensor:
            text, lengths = next(passes)
            seeds = [keyed_seed(self.trial_id, "neftune", step, place, text) for place in places]
            return embedded + self._noise(embedded, lengths, seeds)

        with ExitStack() as hooks:
            for module in self._embedding_modules():
                hooks.callback(module.register_forward_hook(add_noise).remove)
            yield

    def _embedding_modules(self) -> list[torch.nn.Module]:
        """Return all modules that may embed a text: T5 has one of its own, and one in each of its halves."""
        model: Any = self.model
        holders = [model]
        if model.config.is_encoder_decoder:
            holders += [model.get_encoder(), model.get_decoder()]
        found = [holder.get_input_embeddings() for holder in holders]
        return list({id(module): module for module in found}.values())

    def _noise(self, like: torch.Tensor, lengths: Sequence[int], seeds: Sequence[int]) -> torch.Tensor:
        """Return noise of the shape of ``like``: at the examples' tokens, 0 at padding."""
        rows, width, hidden = like.shape
        parts = []
        for length, seed in zip(lengths, seeds, strict=True):
            bound = self.alpha / math.sqrt(length * hidden)
            generator = torch.Generator(device=like.device).manual_seed(seed)
            drawn = torch.empty(length, hidden, device=like.device)
            parts.append(drawn.uniform_(-bound, bound, generator=generator))
        # Packed examples follow one another in one row; otherwise each begins its own.
        used = torch.tensor(lengths if rows == len(lengths) else [sum(lengths)], device=like.device)
        is_real = torch.arange(width, device=like.device)[None, :] < used[:, None]
        noise = torch.zeros(rows, width, hidden, device=like.device)
        return noise.masked_scatter_(is_real[:, :, None], torch.cat(parts)).to(like.dtype)
