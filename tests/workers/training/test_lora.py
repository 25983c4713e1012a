"""Our forward pass of a LoRA layer against PEFT's, and its dropout."""

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model

from tests.support.tiny import make_base
from workers.models.base import BaseModel, load_base
from workers.training.adapters import add_adapter
from workers.training.hyperparameters import Hyperparameters
from workers.training.lora import dropout_mask, lora_sum, merged


def _shake(parameters: dict[str, torch.nn.Parameter]) -> None:
    """Give the B matrices, which start at zero, something to say."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weight in parameters.values():
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator))


@given(st.integers(1, 5), st.integers(1, 6), st.integers(1, 4), st.floats(0.1, 4), st.booleans())
@settings(deadline=None, max_examples=25)
def test_gradients_are_those_of_separate_operations(
    rows: int, width: int, rank: int, scale: float, with_mask: bool
) -> None:
    generator = torch.Generator().manual_seed(rows * 100 + width)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()

    y, x, a, b = draw(2, rows, 7), draw(2, rows, width), draw(rank, width), draw(7, rank)
    mask = (torch.rand((2, rows, width), generator=generator) > 0.3).double() if with_mask else None
    torch.autograd.gradcheck(
        lambda *parts: lora_sum(parts[0], parts[1], parts[2], parts[3], mask, scale), (y, x, a, b)
    )
    plain = y + scale * ((x if mask is None else x * mask) @ a.t() @ b.t())
    torch.testing.assert_close(lora_sum(y, x, a, b, mask, scale), plain)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_adapted_model_computes_what_pefts_own_does(random_base: Path, dtype: str) -> None:
    base = load_base(str(random_base), dtype=dtype)
    hyper = Hyperparameters(lora_r=4, alpha_over_r=2.0, lora_dropout=0.0, use_rslora=True)
    ours = add_adapter(base, hyper, "trial")
    _shake(ours.parameters)
    config = LoraConfig(
        r=4,
        lora_alpha=8,
        use_rslora=True,
        target_modules=["qkv_proj", "o_proj", "gate_up_proj", "down_proj"],
        task_type="CAUSAL_LM",
    )
    theirs = get_peft_model(base.structure_copy(), config)
    theirs.load_state_dict({name: weight.detach() for name, weight in ours.parameters.items()}, strict=False)
    tokens = torch.arange(1, 25).view(2, 12)
    results = []
    for model in (ours.model, theirs.base_model.model):
        logits = model(tokens).logits
        torch.autograd.backward(logits.float().logsumexp(-1).mean())
        results.append(logits.detach())
    tolerance: Any = {"rtol": 1e-5, "atol": 1e-5} if dtype == "float32" else {"rtol": 5e-2, "atol": 5e-2}
    torch.testing.assert_close(results[0], results[1], **tolerance)
    gradients = {name: weight.grad for name, weight in theirs.named_parameters() if weight.requires_grad}
    for name, weight in ours.parameters.items():
        torch.testing.assert_close(weight.grad, gradients[name], **tolerance)


def test_merging_changes_the_speed_and_not_the_answer(loaded_base: BaseModel) -> None:
    adapted = add_adapter(loaded_base, Hyperparameters(lora_dropout=0.0), "trial")
    _shake(adapted.parameters)
    tokens = torch.arange(1, 13).view(1, 12)
    with torch.no_grad():
        apart = adapted.model(tokens).logits
        with merged(adapted.layers):
            together = adapted.model(tokens).logits
        again = adapted.model(tokens).logits
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-4)
    assert not torch.equal(together, apart)
    assert torch.equal(again, apart)


@pytest.mark.parametrize("options", [{"quant": "nf4"}, {"dtype": "bfloat16"}])
def test_coarse_weights_are_not_merged_into(random_base: Path, options: dict[str, Any]) -> None:
    adapted = add_adapter(load_base(str(random_base), **options), Hyperparameters(lora_dropout=0.0), "trial")
    _shake(adapted.parameters)
    tokens = torch.arange(1, 13).view(1, 12)
    with torch.no_grad(), merged(adapted.layers):
        together = adapted.model(tokens).logits
    with torch.no_grad():
        assert torch.equal(together, adapted.model(tokens).logits)


@given(st.floats(0.01, 0.9), st.integers(0, 2**62))
def test_a_mask_keeps_the_mean_and_drops_its_share(probability: float, seed: int) -> None:
    mask = dropout_mask((400, 50), probability, seed, torch.empty(0))
    share = (mask == 0).double().mean().item()
    assert share == pytest.approx(probability, abs=0.03)
    assert mask.max().item() == pytest.approx(1 / (1 - probability))
    assert torch.equal(mask, dropout_mask((400, 50), probability, seed, torch.empty(0)))


def test_masks_differ_by_seed() -> None:
    masks = [dropout_mask((64, 64), 0.5, seed, torch.empty(0)) for seed in (1, 2)]
    assert (masks[0] == masks[1]).double().mean().item() == pytest.approx(0.5, abs=0.1)


def test_a_fresh_adapter_changes_nothing_and_depends_on_its_trial_alone(loaded_base: BaseModel) -> None:
    tokens = torch.arange(1, 13).view(1, 12)
    torch.manual_seed(1)
    one = add_adapter(loaded_base, Hyperparameters(), "one")
    before = torch.random.get_rng_state()
    again = add_adapter(loaded_base, Hyperparameters(), "one")
    assert torch.equal(before, torch.random.get_rng_state())
    two = add_adapter(loaded_base, Hyperparameters(), "two")
    one.model.train(False)
    with torch.no_grad():
        torch.testing.assert_close(one.model(tokens).logits, loaded_base.model(tokens).logits)
    for name, weight in one.parameters.items():
        assert torch.equal(weight, again.parameters[name])
        assert ("lora_B" in name) == torch.equal(weight, two.parameters[name])


def test_a_dropped_model_is_freed_at_once(tmp_path: Path) -> None:
    """No reference cycle holds it: memory must not wait for the garbage collector."""
    base = load_base(str(make_base(tmp_path / "own")))
    adapted = add_adapter(base, Hyperparameters(lora_dropout=0.1), "trial")
    gone = weakref.ref(next(iter(adapted.parameters.values())))
    gc.disable()
    try:
        del adapted
        assert gone() is None
    finally:
        gc.enable()


def test_what_a_layer_returns_can_be_added_to_in_place() -> None:
    x, y = torch.randn(2, 3, 5, requires_grad=True), torch.randn(2, 3, 4)
    a, b = torch.randn(2, 5, requires_grad=True), torch.randn(4, 2, requires_grad=True)
    total = lora_sum(y, x, a, b, None, 0.5)
    total += 1.0
    torch.autograd.backward(total.square().sum())
    expected = 2 * (y + 0.5 * x @ a.t() @ b.t() + 1.0)
    torch.testing.assert_close(x.grad, 0.5 * expected @ b @ a)
