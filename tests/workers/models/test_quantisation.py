"""Quantised bases train right: before and after an evaluation, shared between trials, in 8 bits and in 4."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.tiny import make_task
from workers.models.base import BaseModel, load_base
from workers.training.adapters import Adapted, add_adapter
from workers.training.encoding import EncodedTask, encode_task
from workers.training.forward import make_batch, target_logits, target_losses
from workers.training.hyperparameters import Hyperparameters

pytestmark = pytest.mark.parametrize("quant", ["int8", "nf4"])


def encoded_for(base: BaseModel) -> EncodedTask:
    return encode_task(base.tokenizer, make_task(), max_length_tokens=64)


def gradients(adapted: Adapted, task: EncodedTask) -> list[torch.Tensor]:
    batch = make_batch(adapted.model, task.train[:4])
    losses = target_losses(target_logits(adapted.model, batch), batch)
    return list(torch.autograd.grad(losses.mean(), list(adapted.parameters.values())))


def evaluate(adapted: Adapted, task: EncodedTask) -> torch.Tensor:
    adapted.model.train(False)
    with torch.no_grad():
        logits = target_logits(adapted.model, make_batch(adapted.model, task.validation))
    adapted.model.train(True)
    return logits


@pytest.mark.parametrize("options", [{}, {"use_dora": True}])
def test_gradients_are_the_same_before_and_after_an_evaluation_pass(
    random_base: Path, quant: str, options: dict[str, Any]
) -> None:
    """bitsandbytes 0.50.2 repacks 4-bit weights in evaluation on AVX512-BF16 CPUs, and then trains wrong."""
    base = load_base(str(random_base), quant=quant)
    task = encoded_for(base)
    hyper = Hyperparameters.from_config({"quant": quant, "lora_r": 4, "lora_dropout": 0.0, **options})
    adapted = add_adapter(base, hyper, "trial")
    before = gradients(adapted, task)
    assert any(gradient.any() for gradient in before)
    for _ in range(2):
        evaluate(adapted, task)
        for first, second in zip(before, gradients(adapted, task), strict=True):
            assert torch.equal(first, second)


def test_gradients_are_those_of_the_dequantised_weights(random_base: Path, quant: str) -> None:
    coarse, plain = load_base(str(random_base), quant=quant), load_base(str(random_base))
    with torch.no_grad():
        for name, module in coarse.model.named_modules():
            if (weight := dequantised(module)) is not None:
                plain.model.get_parameter(f"{name}.weight").copy_(weight)
    task = encoded_for(plain)
    hyper = Hyperparameters(lora_r=4, lora_dropout=0.0)
    found, expected = (gradients(add_adapter(base, hyper, "trial"), task) for base in (coarse, plain))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


def dequantised(module: Any) -> torch.Tensor | None:
    from bitsandbytes.functional import dequantize_4bit, int8_vectorwise_dequant
    from bitsandbytes.nn import Linear4bit, Linear8bitLt

    weight: torch.Tensor | None = None
    if isinstance(module, Linear4bit):
        weight = dequantize_4bit(module.weight.data, module.weight.quant_state)
    elif isinstance(module, Linear8bitLt):
        weight = int8_vectorwise_dequant(module.weight.data, module.state.SCB)
    return weight


def test_trials_share_a_quantised_base_whatever_ran_before(random_base: Path, quant: str) -> None:
    base = load_base(str(random_base), quant=quant)
    task = encoded_for(base)
    hyper = Hyperparameters(lora_r=4, lora_dropout=0.0)
    first = add_adapter(base, hyper, "trial")
    alone = gradients(first, task), evaluate(first, task)
    for _ in range(2):
        later = add_adapter(base, hyper, "trial")
        assert all(torch.equal(*pair) for pair in zip(alone[0], gradients(later, task), strict=True))
        assert torch.equal(alone[1], evaluate(later, task))
    shared = {name: module.weight.data_ptr() for name, module in quantised(base.model)}
    assert shared
    assert shared == {
        name.replace(".base_layer", ""): module.weight.data_ptr() for name, module in quantised(first.model)
    }


def quantised(model: torch.nn.Module) -> list[tuple[str, Any]]:
    return [(name, module) for name, module in model.named_modules() if dequantised(module) is not None]


def test_casts_are_not_logged_at_every_multiplication(
    random_base: Path, quant: str, caplog: pytest.LogCaptureFixture
) -> None:
    base = load_base(str(random_base), quant=quant)
    with caplog.at_level(logging.DEBUG), torch.no_grad():
        base.model(torch.arange(1, 9).view(1, 8))
    assert "cast" not in caplog.text
