"""The places that PEFT's prefix and prompt tuning put before the text."""

import torch
from peft import PeftModel, initialize_kv_prefix_from_past_key_values
from transformers import Cache, DynamicCache, PreTrainedModel


@torch.no_grad()
def begin_prefix_with_words(peft_model: PeftModel, count: int) -> None:
    """Let a prefix begin as the keys and values of words drawn from the vocabulary.

    Li and Liang (arXiv 2101.00190, section 7.4) found activations of real words to begin better than random
    numbers, which are PEFT's default.

    Args:
        peft_model: With a prefix that has not been trained.
        count: Places of the prefix.
    """
    model: PreTrainedModel = peft_model.get_base_model()
    words = torch.randint(0, model.config.vocab_size, (1, count)).to(model.device)
    cache = DynamicCache()  # made without the config, it keeps what lies outside of sliding windows too
    model.train(False)
    model(words, past_key_values=cache, use_cache=True)
    initialize_kv_prefix_from_past_key_values(peft_model, past_key_values=cache)


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
