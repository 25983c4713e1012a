"""Places that prefix and prompt tuning put before the text, as the forward pass sees them."""

from typing import Protocol

import torch
from transformers import Cache


class VirtualTokens(Protocol):
    """Trained places before the first token of every row; the text's own positions begin after them.

    Of ``embeddings`` and ``cache`` one returns None, always the same one. The attention mask is one at all
    of the places. Before an encoder-decoder's text they precede the encoder's input.
    """

    @property
    def count(self) -> int:
        """Places before the text."""
        ...

    def embeddings(self, rows: int) -> torch.Tensor | None:
        """Return what is put before the text's embeddings, differentiable.

        Args:
            rows: Of the batch.

        Returns:
            Shape ``(rows, count, hidden)``, in the type of the text's embeddings; None for prefix tuning.
        """
        ...

    def cache(self, rows: int) -> Cache | None:
        """Return the keys and values of the places, differentiable, in the type of the base's activations.

        Args:
            rows: Of the batch.

        Returns:
            A cache of length ``count`` that is the caller's own, fresh for every call; None for prompt
            tuning.
        """
        ...
