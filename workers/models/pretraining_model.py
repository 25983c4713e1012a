"""The models that are pretrained: their initial weights, what they are shown, and how well they answer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from transformers import (
    GenerationConfig,
    Phi3Config,
    Phi3ForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    T5Config,
    T5ForConditionalGeneration,
)

from workers.models.pretraining_batches import Encoded, TextBatch, encode_text, pad_batch, pad_pairs
from workers.models.pretraining_settings import Architecture, PretrainingSettings
from workers.models.tokenizer import BOS, END, END_OF_TEXT, MAX_LENGTH_TOKENS
from workers.tasks.records import Example


def build_model(
    tokenizer: PreTrainedTokenizerBase, seed: int, settings: PretrainingSettings
) -> PreTrainedModel:
    """Build the model with its initial weights, which are a function of the seed."""
    bos, end_of_text, end = (tokenizer.get_vocab()[token] for token in (BOS, END_OF_TEXT, END))
    marks = {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": bos,
        "eos_token_id": end_of_text,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _BUILDERS[settings.architecture](settings, marks)
    starts = {"decoder_start_token_id": tokenizer.pad_token_id} if model.config.is_encoder_decoder else {}
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        pad_token_id=tokenizer.pad_token_id, bos_token_id=bos, eos_token_id=[end_of_text, end], **starts
    )
    return model


def _phi3(settings: PretrainingSettings, marks: Mapping[str, Any]) -> PreTrainedModel:
    config = Phi3Config(
        **marks,
        hidden_size=settings.hidden_size,
        intermediate_size=settings.intermediate_size,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.heads,
        max_position_embeddings=MAX_LENGTH_TOKENS,
        original_max_position_embeddings=MAX_LENGTH_TOKENS,
        tie_word_embeddings=False,
    )
    return Phi3ForCausalLM(config)


def _t5(settings: PretrainingSettings, marks: Mapping[str, Any]) -> PreTrainedModel:
    """Build T5 with the gated layers of its release 1.1 and the tied head of its first; no dropout."""
    sizes: dict[str, Any] = {
        "d_model": settings.hidden_size,
        "d_ff": settings.intermediate_size,
        "d_kv": settings.hidden_size // settings.heads,
        "num_layers": settings.layers,
        "num_decoder_layers": settings.layers,
        "num_heads": settings.heads,
    }
    # Of its own, the head would begin with weights as large as the embeddings' and logits far too sure.
    kind: dict[str, Any] = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": True}
    more: dict[str, Any] = {"dropout_rate": 0.0, "decoder_start_token_id": marks["pad_token_id"]}
    return T5ForConditionalGeneration(T5Config(**marks, **sizes, **kind, **more))


_BUILDERS: Mapping[Architecture, Callable[[PretrainingSettings, Mapping[str, Any]], PreTrainedModel]] = {
    Architecture.PHI3: _phi3,
    Architecture.T5: _t5,
}


@dataclass(frozen=True, slots=True)
class Reading:
    """How a model is shown examples: as finetuning shows them to a model of its kind."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    def encode(self, examples: Sequence[Example]) -> list[Encoded]:
        """Return the tokens of prompts and answers."""
        end = END_OF_TEXT if self.model.config.is_encoder_decoder else END
        return encode_text(self.tokenizer, examples, end=end)

    def pad(self, encoded: Sequence[Encoded], *, prompt_weight: float) -> TextBatch:
        """Return a batch; a prompt's tokens have this weight, and none where an encoder reads them."""
        pad_token_id = self.tokenizer.pad_token_id
        if not self.model.config.is_encoder_decoder:
            return pad_batch(encoded, pad_token_id=pad_token_id, prompt_weight=prompt_weight)
        start = self.model.config.decoder_start_token_id
        return pad_pairs(encoded, pad_token_id=pad_token_id, decoder_start=start)

    def logits(self, batch: TextBatch) -> torch.Tensor:
        """Return the logits of all targets, shape ``(examples, places, vocabulary)``."""
        if batch.decoder_input_ids is None:
            logits: torch.Tensor = self.model(input_ids=batch.input_ids).logits[:, :-1]
            return logits
        return self._pair_logits(batch)

    def counted_logits(self, batch: TextBatch) -> torch.Tensor:
        """Return the logits of the targets that have a weight, shape ``(targets, vocabulary)``."""
        counted = batch.weights > 0
        if batch.decoder_input_ids is not None:
            return self._pair_logits(batch)[counted]
        hidden = self.model.model(input_ids=batch.input_ids).last_hidden_state[:, :-1]
        logits: torch.Tensor = self.model.lm_head(hidden[counted])
        return logits

    def _pair_logits(self, batch: TextBatch) -> torch.Tensor:
        logits: torch.Tensor = self.model(
            input_ids=batch.input_ids,
            attention_mask=(batch.input_ids != self.tokenizer.pad_token_id).long(),
            decoder_input_ids=batch.decoder_input_ids,
            use_cache=False,
        ).logits
        return logits


def answer_quality(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example]
) -> tuple[float, float]:
    """Measure answers under teacher forcing.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        examples: At least one.

    Returns:
        Mean loss in nats per answer token, and the share of answers of which every token is the likeliest.
    """
    reading = Reading(model, tokenizer)
    batch = reading.pad(reading.encode(examples), prompt_weight=0.0)
    with torch.no_grad():
        logits = reading.logits(batch)
    is_answer = batch.weights > 0
    loss = cross_entropy(logits[is_answer], batch.targets[is_answer])
    right = (logits.argmax(-1) == batch.targets) | ~is_answer
    return loss.item(), right.all(dim=1).float().mean().item()
