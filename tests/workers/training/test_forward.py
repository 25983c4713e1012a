"""The short forward pass against the models' own, architecture by architecture."""

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from workers.training.batches import collate
from workers.training.encoding import EncodedExample
from workers.training.forward import run_model, target_logits, target_losses

EXAMPLES = [
    EncodedExample((3, 9, 14, 4, 21, 22, 5), 4, "x"),
    EncodedExample((3, 9, 4, 23, 5), 3, "x"),
    EncodedExample((3, 9, 14, 17, 18, 4, 24, 25, 26, 5), 6, "x"),
]


def _model(kind: str) -> Any:
    sizes: dict[str, Any] = {
        "vocab_size": 40,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 5,
    }
    if kind == "phi3":
        del sizes["head_dim"]
    torch.manual_seed(0)
    from_config: Any = AutoModelForCausalLM.from_config
    return from_config(AutoConfig.for_model(kind, **sizes)).eval()


@pytest.mark.parametrize(
    "kind", ["phi3", "llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text"]
)
@pytest.mark.parametrize("with_prompts", [False, True])
def test_logits_at_the_targets_are_the_models_own(kind: str, with_prompts: bool) -> None:
    model = _model(kind)
    batch = collate(EXAMPLES, device=torch.device("cpu"), with_prompts=with_prompts)
    own = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
    logits = target_logits(model, batch)
    torch.testing.assert_close(logits, own[batch.rows, batch.columns])
    cached = run_model(model, batch, keep_cache=True)
    torch.testing.assert_close(cached.logits, logits)
    after = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
    assert torch.equal(after, own), "the model must be as it was"


def test_losses_are_those_of_each_example_alone() -> None:
    model = _model("phi3")
    batch = collate(EXAMPLES, device=torch.device("cpu"))
    together = target_losses(target_logits(model, batch), batch)
    apart = []
    for example in EXAMPLES:
        alone = collate([example], device=torch.device("cpu"))
        assert alone.attention_mask is None
        apart.append(target_losses(target_logits(model, alone), alone))
    torch.testing.assert_close(together, torch.cat(apart), rtol=1e-5, atol=1e-5)


def test_targets_are_answer_tokens_and_the_end_mark() -> None:
    batch = collate(EXAMPLES, device=torch.device("cpu"))
    assert batch.labels.tolist() == [21, 22, 5, 23, 5, 24, 25, 26, 5]
    assert batch.is_answer.all()
    both = collate(EXAMPLES, device=torch.device("cpu"), with_prompts=True)
    assert both.labels[both.is_answer].tolist() == batch.labels.tolist()
    assert len(both.labels) == sum(len(example.tokens) - 1 for example in EXAMPLES)
