"""The forward pass: cross-entropies at the places that matter, without logits for the others."""

from typing import Any

import torch
from transformers import PreTrainedModel

from workers.training.batches import Batch

_PLAIN_HEADS = frozenset({"phi3", "llama", "mistral", "qwen2", "qwen3"})
"""Model types whose logits are ``lm_head`` of the decoder's last hidden state and nothing more."""


def target_logits(model: PreTrainedModel, batch: Batch, cache: Any = None) -> torch.Tensor:
    """Return the logits that predict each target, in float32.

    Args:
        model: A causal language model.
        batch: Rows padded on the right.
        cache: A key-value cache that is filled on the way, or None.

    Returns:
        Shape ``(targets, vocabulary)``.
    """
    inputs = {
        "input_ids": batch.input_ids,
        "attention_mask": batch.attention_mask,
        "use_cache": cache is not None,
        "past_key_values": cache,
    }
    logits: torch.Tensor
    if model.config.model_type in _PLAIN_HEADS:
        hidden = model.model(**inputs).last_hidden_state
        logits = model.lm_head(hidden[batch.rows, batch.columns])
    else:
        logits = model(**inputs).logits[batch.rows, batch.columns]
    return logits.float()


def target_losses(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Return the cross-entropy of each target in nats, shape ``(targets,)``."""
    return torch.nn.functional.cross_entropy(logits, batch.labels, reduction="none")
