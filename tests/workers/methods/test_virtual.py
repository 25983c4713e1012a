"""Places before the text: as PEFT computes with them, fresh for every call, and trained."""

from typing import Any

import pytest
import torch
from transformers import DynamicCache

from tests.workers.methods.conftest import LoadFamily
from workers.training.adapters import add_adapter
from workers.training.hyperparameters import Hyperparameters

COUNT, ROWS = 3, 2
TOKENS = torch.arange(1, 25).view(ROWS, 12)


def hyper_of(method: str) -> Hyperparameters:
    return Hyperparameters.from_config({"peft_method": method, "num_virtual_tokens": COUNT})


@pytest.mark.parametrize(
    ("family", "heads", "head_dim"), [("phi3", 1, 16), ("llama", 1, 16), ("qwen3", 1, 16), ("gemma3", 1, 16)]
)
def test_a_prefix_has_each_layers_keys_and_values(
    load_family: LoadFamily, family: str, heads: int, head_dim: int
) -> None:
    base = load_family(family)
    adapted = add_adapter(base, hyper_of("prefix"), "trial")
    virtual: Any = adapted.virtual
    assert virtual.count == COUNT
    assert virtual.embeddings(ROWS) is None
    cache = virtual.cache(ROWS)
    assert isinstance(cache, DynamicCache)
    assert len(cache.layers) == base.model.config.num_hidden_layers
    assert cache.get_seq_length() == COUNT
    layers: Any = cache.layers
    for layer in layers:
        assert layer.keys.shape == layer.values.shape == (ROWS, heads, COUNT, head_dim)
    adapted.model(TOKENS, past_key_values=cache)
    assert virtual.cache(ROWS).get_seq_length() == COUNT


@pytest.mark.parametrize("method", ["prefix", "prompt"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_places_are_trained_and_what_peft_computes(load_family: LoadFamily, method: str, dtype: str) -> None:
    base = load_family("llama", "none", dtype)
    adapted = add_adapter(base, hyper_of(method), "trial")
    virtual: Any = adapted.virtual
    mask = torch.ones(ROWS, COUNT + TOKENS.shape[1])
    if method == "prefix":
        ours = adapted.model(TOKENS, past_key_values=virtual.cache(ROWS), attention_mask=mask).logits
    else:
        embeddings = virtual.embeddings(ROWS)
        assert virtual.cache(ROWS) is None
        assert embeddings.dtype == adapted.model.dtype
        text = adapted.model.get_input_embeddings()(TOKENS)
        ours = adapted.model(inputs_embeds=torch.cat([embeddings, text], 1), attention_mask=mask).logits
    assert adapted.peft_model is not None
    theirs = adapted.peft_model(TOKENS, attention_mask=torch.ones_like(TOKENS)).logits
    assert torch.equal(ours, theirs)
    torch.autograd.backward(ours.float().logsumexp(-1).mean())
    (weight,) = adapted.parameters.values()
    assert weight.grad is not None
    assert weight.grad.any(dim=-1).all()


def test_a_prompt_begins_with_words_of_the_vocabulary(load_family: LoadFamily) -> None:
    base = load_family("phi3")
    adapted = add_adapter(base, hyper_of("prompt"), "trial")
    (weight,) = adapted.parameters.values()
    words = base.model.get_input_embeddings().weight
    assert all((words == place).all(dim=-1).any() for place in weight)


@pytest.mark.parametrize("family", ["phi3", "gemma3"])
def test_a_prefix_begins_as_words_of_the_vocabulary_do(load_family: LoadFamily, family: str) -> None:
    base = load_family(family)
    virtual: Any = add_adapter(base, hyper_of("prefix"), "trial").virtual
    first: Any = base.model.model.layers[0]
    words = base.model.get_input_embeddings()(torch.arange(base.model.config.vocab_size))
    normed = first.input_layernorm(words)
    values = first.self_attn.v_proj(normed) if family == "gemma3" else None
    found = virtual.cache(1).layers[0].values[0, 0]
    if values is None:
        values = first.self_attn.qkv_proj(normed)[:, -found.shape[-1] :]
    assert all((values - place).abs().amax(dim=-1).min() < 1e-4 for place in found)
