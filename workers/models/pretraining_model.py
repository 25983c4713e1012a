"""The model that is pretrained: its initial weights, and how well it answers."""

from collections.abc import Sequence

import torch
from torch.nn.functional import cross_entropy
from transformers import GenerationConfig, Phi3Config, Phi3ForCausalLM, PreTrainedTokenizerBase

from workers.models.pretraining_batches import encode_text, pad_batch
from workers.models.pretraining_settings import PretrainingSettings
from workers.models.tokenizer import BOS, END, END_OF_TEXT, MAX_LENGTH_TOKENS
from workers.tasks.records import Example


def build_model(
    tokenizer: PreTrainedTokenizerBase, seed: int, settings: PretrainingSettings
) -> Phi3ForCausalLM:
    """Build the model with its initial weights, which are a function of the seed."""
    bos, end_of_text, end = (tokenizer.get_vocab()[token] for token in (BOS, END_OF_TEXT, END))
    config = Phi3Config(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden_size,
        intermediate_size=settings.intermediate_size,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.heads,
        max_position_embeddings=MAX_LENGTH_TOKENS,
        original_max_position_embeddings=MAX_LENGTH_TOKENS,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=bos,
        eos_token_id=end_of_text,
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Phi3ForCausalLM(config)
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        pad_token_id=tokenizer.pad_token_id, bos_token_id=bos, eos_token_id=[end_of_text, end]
    )
    return model


def answer_quality(
    model: Phi3ForCausalLM, tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example]
) -> tuple[float, float]:
    """Measure answers under teacher forcing.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        examples: At least one.

    Returns:
        Mean loss in nats per answer token, and the share of answers of which every token is the likeliest.
    """
    batch = pad_batch(
        encode_text(tokenizer, examples), pad_token_id=tokenizer.pad_token_id, prompt_weight=0.0
    )
    with torch.no_grad():
        logits = model(input_ids=batch.input_ids).logits[:, :-1]
    targets, is_answer = batch.input_ids[:, 1:], batch.weights > 0
    loss = cross_entropy(logits[is_answer], targets[is_answer])
    right = (logits.argmax(-1) == targets) | ~is_answer
    return loss.item(), right.all(dim=1).float().mean().item()
