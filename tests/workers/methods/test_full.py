"""Full finetuning: weights of one's own, tied as they were, fine-grained in coarse types."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.workers.methods.conftest import LoadFamily
from workers.methods.full import finished_model, own_model

TOKENS = torch.arange(1, 25).view(2, 12)


@pytest.mark.parametrize("family", ["phi3", "qwen2", "gemma3"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_copy_computes_what_the_base_does(load_family: LoadFamily, family: str, dtype: str) -> None:
    base = load_family(family, "none", dtype)
    model, parameters = own_model(base)
    model.train(False)
    with torch.no_grad():
        assert torch.equal(model(TOKENS).logits, base.model(TOKENS).logits)
    expected = dict(base.model.named_parameters())
    assert list(parameters) == list(expected)
    for name, weight in parameters.items():
        assert weight.dtype == torch.float32
        assert weight.requires_grad
        assert weight.data_ptr() != expected[name].data_ptr()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_tied_weights_stay_one(load_family: LoadFamily, dtype: str) -> None:
    model, parameters = own_model(load_family("qwen2", "none", dtype))
    assert "lm_head.weight" not in parameters
    torch.autograd.backward(model(TOKENS).logits.float().logsumexp(-1).mean())
    tied = parameters["model.embed_tokens.weight"]
    assert tied.grad is not None
    unseen = sorted({*range(len(tied))} - {*TOKENS.flatten().tolist()})
    assert tied.grad[unseen].any()  # the head's share: no such token was put in


def test_steps_too_small_for_the_type_are_not_lost(load_family: LoadFamily, tmp_path: Path) -> None:
    base = load_family("phi3", "none", "bfloat16")
    model, parameters = own_model(base)
    weight = parameters["model.norm.weight"]
    start = weight.detach().clone()
    with torch.no_grad():
        for _ in range(100):
            weight.add_(1e-4)  # a bfloat16 next to 1 is 0.0078 away
    torch.testing.assert_close(weight.detach(), start + 1e-2, rtol=1e-5, atol=1e-6)
    assert model.get_submodule("model.norm").weight.dtype == torch.bfloat16
    finished: Any = finished_model(base, parameters)
    finished.save_pretrained(tmp_path)
    base.tokenizer.save_pretrained(str(tmp_path))
    again = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.bfloat16)
    model.train(False)
    with torch.no_grad():
        assert torch.equal(again(TOKENS).logits, model(TOKENS).logits)
        assert not torch.equal(again(TOKENS).logits, base.model(TOKENS).logits)
    assert AutoTokenizer.from_pretrained(tmp_path).chat_template == base.tokenizer.chat_template
