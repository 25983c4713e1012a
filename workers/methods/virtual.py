"""The places that PEFT's prefix and prompt tuning put before the text."""

import torch
from peft import PeftModel
from transformers import Cache


class PromptTokens:
    """Trained embeddings before the text's own; they implement ``VirtualTokens``."""

    def __init__(self, peft_model: PeftModel, count: int) -> None:
        self.count = count
        self._peft_model = peft_model

    def embeddings(self, rows: int) -> torch.Tensor:
        """Return the embeddings, repeated for every row, in the type of the text's."""
        places: torch.Tensor = self._peft_model.get_prompt(batch_size=rows)
        return places.to(self._peft_model.word_embeddings.weight.dtype)

    def cache(self, rows: int) -> None:
        """Return None: the places are computed as words are."""


class PrefixTokens:
    """Trained keys and values before the text's own, in every layer; they implement ``VirtualTokens``."""

    def __init__(self, peft_model: PeftModel, count: int) -> None:
        self.count = count
        self._peft_model = peft_model

    def embeddings(self, rows: int) -> None:
        """Return None: the places never were words."""

    def cache(self, rows: int) -> Cache:
        """Return a new cache that holds the places, repeated for every row."""
        places: Cache = self._peft_model.get_prompt(batch_size=rows)
        return places
