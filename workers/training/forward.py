"""The forward pass: cross-entropies at the places that matter, and little work for the others.

Causal and encoder-decoder models, with or without virtual tokens before the text, on any layout of a batch.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache, EncoderDecoderCache, PreTrainedModel

from workers.models.architectures import PLAIN_LAYERS, SANDWICHED_LAYERS
from workers.training.batches import Batch, collate
from workers.training.encoding import EncodedExample
from workers.training.virtual import VirtualTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """What a forward pass leaves."""

    logits: torch.Tensor
    """They predict each target, in float32; shape ``(targets, vocabulary)``."""
    cache: Any
    """Keys and values of every place, those of virtual tokens first; None unless asked for."""
    encoder_states: torch.Tensor | None
    """What an encoder made of the prompts, shape ``(rows, width, hidden)``, virtual tokens included."""
    encoder_mask: torch.Tensor | None
    """Which of its places hold something, shape ``(rows, width)``."""


def make_batch(
    model: PreTrainedModel,
    examples: Sequence[EncodedExample],
    *,
    with_prompts: bool = False,
    packed: bool = False,
) -> Batch:
    """Put examples into the layout that a model takes; the other arguments are those of ``collate``."""
    is_paired = model.config.is_encoder_decoder
    start = model.config.decoder_start_token_id if is_paired else None
    return collate(
        examples, device=model.device, with_prompts=with_prompts, packed=packed, decoder_start=start
    )


def target_logits(
    model: PreTrainedModel, batch: Batch, *, virtual: VirtualTokens | None = None
) -> torch.Tensor:
    """Return the logits that predict each target, in float32.

    Args:
        model: A causal or encoder-decoder language model.
        batch: In the layout of ``make_batch``.
        virtual: What stands before the text, or None.

    Returns:
        Shape ``(targets, vocabulary)``.
    """
    return run_model(model, batch, virtual=virtual).logits


def target_losses(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Return the cross-entropy of each target in nats, shape ``(targets,)``."""
    return torch.nn.functional.cross_entropy(logits, batch.labels, reduction="none")


def run_model(
    model: PreTrainedModel,
    batch: Batch,
    *,
    virtual: VirtualTokens | None = None,
    keep_cache: bool = False,
) -> Pass:
    """Run a model over a batch.

    Args:
        model: A causal or encoder-decoder language model.
        batch: In the layout of ``make_batch``; not packed if there are virtual tokens.
        virtual: What stands before the text, or None.
        keep_cache: Whether generation is to go on from here.

    Returns:
        The targets' logits and, if asked for, what generation needs.
    """
    inputs: dict[str, Any] = {"attention_mask": batch.attention_mask, "use_cache": keep_cache}
    embeddings = virtual.embeddings(len(batch.input_ids)) if virtual is not None else None
    if embeddings is None:
        inputs["input_ids"] = batch.input_ids
    else:
        text = model.get_input_embeddings()(batch.input_ids)
        inputs["inputs_embeds"] = torch.cat([embeddings, text], dim=1)
    if virtual is not None and batch.attention_mask is not None:
        before = batch.attention_mask.new_ones(len(batch.input_ids), virtual.count)
        inputs["attention_mask"] = torch.cat([before, batch.attention_mask], dim=1)
    if batch.decoder_input_ids is not None:
        return _run_pair(model, batch, inputs, keep_cache=keep_cache)
    cache: Any = virtual.cache(len(batch.input_ids)) if virtual is not None else None
    if keep_cache:
        # Made without the model's config, it keeps what lies outside of sliding windows too.
        cache = DynamicCache(
            [(layer.keys, layer.values) for layer in cache.layers] if cache is not None else None
        )
    if batch.position_ids is not None:
        inputs["position_ids"] = batch.position_ids
    columns = batch.columns if embeddings is None else batch.columns + embeddings.shape[1]
    logits = _logits(model, inputs | {"past_key_values": cache}, batch.rows, columns)
    return Pass(
        logits=logits.float(),
        cache=cache if keep_cache else None,
        encoder_states=None,
        encoder_mask=None,
    )


def _run_pair(model: PreTrainedModel, batch: Batch, inputs: dict[str, Any], *, keep_cache: bool) -> Pass:
    """Run an encoder-decoder."""
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache()) if keep_cache else None
    outputs = model(**inputs, decoder_input_ids=batch.decoder_input_ids, past_key_values=cache)
    logits = outputs.logits[batch.rows, batch.columns].float()
    return Pass(
        logits=logits,
        cache=cache,
        encoder_states=outputs.encoder_last_hidden_state,
        encoder_mask=inputs["attention_mask"],
    )


def _logits(
    model: PreTrainedModel, inputs: dict[str, Any], rows: torch.Tensor, columns: torch.Tensor
) -> torch.Tensor:
    """Run a causal model; the last layer's MLP and the head only at the targets, where its kind is known."""
    logits: torch.Tensor
    if model.config.model_type not in PLAIN_LAYERS | SANDWICHED_LAYERS or _drops_residuals(model):
        logits = model(**inputs).logits[rows, columns]
        return logits
    with _last_layer_only_at(model, rows, columns):
        logits = model.lm_head(model.model(**inputs).last_hidden_state)
    most = getattr(model.config, "final_logit_softcapping", None)
    return logits if most is None else torch.tanh(logits / most) * most


def _drops_residuals(model: PreTrainedModel) -> bool:
    """Whether the architecture's own dropout, on its residual branches, is switched on."""
    return bool(getattr(model.config, "resid_pdrop", 0.0))


@contextmanager
def _last_layer_only_at(model: PreTrainedModel, rows: torch.Tensor, columns: torch.Tensor) -> Iterator[None]:
    """Let the decoder return the hidden states of the targets alone, shape ``(targets, width)``.

    After the last attention nothing mixes places, so the last MLP is run for the targets only: an eighth less
    time for a step of a four-layer model with a quarter of its tokens in answers.
    """
    layer = model.model.layers[-1]

    def plain(hidden_states: torch.Tensor, **options: Any) -> torch.Tensor:
        attended, _ = layer.self_attn(hidden_states=layer.input_layernorm(hidden_states), **options)
        chosen = (hidden_states + attended)[rows, columns]
        return chosen + layer.mlp(layer.post_attention_layernorm(chosen))  # type: ignore[no-any-return]

    def sandwiched(hidden_states: torch.Tensor, **options: Any) -> torch.Tensor:
        attended, _ = layer.self_attn(hidden_states=layer.input_layernorm(hidden_states), **options)
        attended = layer.post_attention_layernorm(attended[rows, columns])
        chosen = hidden_states[rows, columns] + attended
        through = layer.mlp(layer.pre_feedforward_layernorm(chosen))
        return chosen + layer.post_feedforward_layernorm(through)  # type: ignore[no-any-return]

    layer.forward = sandwiched if model.config.model_type in SANDWICHED_LAYERS else plain
    try:
        yield
    finally:
        del layer.forward
