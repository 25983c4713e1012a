"""Optimizers: what they do to a weight, and that their state comes back whole."""

import gc
from typing import Any

import bitsandbytes
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    Phi3Config,
    Phi3ForCausalLM,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
    Trainer,
)

from workers.spaces.names import NAMES
from workers.training.hyperparameters import Hyperparameters
from workers.training.optimizers import (
    Lion,
    build_optimizer,
    export_state,
    import_state,
    set_learning_rate,
    undecayed_names,
)
from workers.training.paging import PagedAdamW


def _weights(seed: int = 0) -> dict[str, torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.nn.Parameter(torch.randn(shape, generator=generator))
        for name, shape in (("x.lora_A.w", (8, 640)), ("x.lora_B.w", (16, 8)))
    }


def _train(weights: dict[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(100 + step)
        for weight in weights.values():
            weight.grad = torch.randn(weight.shape, generator=generator)
        set_learning_rate(optimizer, 1.0 / (step + 1))
        optimizer.step()


@pytest.mark.parametrize("optim", NAMES["optim"].words)
def test_state_taken_out_and_put_back_continues_bit_for_bit(optim: str) -> None:
    hyper = Hyperparameters.from_config({"optim": optim, "learning_rate": 1e-2, "weight_decay": 0.1})
    whole = _weights()
    optimizer = build_optimizer(whole, hyper)
    _train(whole, optimizer, range(3))
    tensors, numbers = export_state(optimizer, whole)
    copies = {name: tensor.clone() for name, tensor in tensors.items()}
    resumed = {name: torch.nn.Parameter(weight.detach().clone()) for name, weight in whole.items()}
    fresh = build_optimizer(resumed, hyper)
    import_state(fresh, resumed, copies, {name: dict(values) for name, values in numbers.items()})
    _train(whole, optimizer, range(3, 6))
    _train(resumed, fresh, range(3, 6))
    for name in whole:
        assert torch.equal(whole[name], resumed[name])


@pytest.mark.parametrize("optim", NAMES["optim"].words)
def test_loraplus_moves_b_matrices_by_its_ratio(optim: str) -> None:
    hyper = Hyperparameters.from_config({"optim": optim, "learning_rate": 1e-3, "loraplus_lr_ratio": 4.0})
    optimizer = build_optimizer(_weights(), hyper)
    set_learning_rate(optimizer, 0.5)
    assert sorted(group["lr"] for group in optimizer.param_groups) == pytest.approx([5e-4, 2e-3])


@given(st.integers(0, 1000), st.floats(1e-4, 1e-1), st.floats(0, 0.5))
def test_lion_follows_its_paper(seed: int, rate: float, decay: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.nn.Parameter(torch.randn(5, generator=generator))
    expected, momentum = weight.detach().clone(), torch.zeros(5)
    optimizer = Lion([weight], lr=rate, weight_decay=decay)
    for _ in range(3):
        gradient = torch.randn(5, generator=generator)
        weight.grad = gradient.clone()
        optimizer.step()
        update = torch.sign(0.9 * momentum + 0.1 * gradient)
        expected = expected - rate * (update + decay * expected)
        momentum = 0.99 * momentum + 0.01 * gradient
    torch.testing.assert_close(weight.detach(), expected, rtol=1e-5, atol=1e-6)


def _trained(config: dict[str, Any], steps: int = 4) -> list[torch.Tensor]:
    weights = _weights()
    _train(weights, build_optimizer(weights, Hyperparameters.from_config(config)), range(steps))
    return [weight.detach() for weight in weights.values()]


@pytest.mark.parametrize(
    ("paged", "plain"), [("paged_adamw_8bit", "adamw_8bit"), ("paged_lion_8bit", "lion_8bit")]
)
def test_on_a_cpu_paging_changes_nothing(paged: str, plain: str) -> None:
    for one, other in zip(_trained({"optim": paged}), _trained({"optim": plain}), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("optim", "reference", "tolerance"),
    [
        ("paged_adamw_32bit", "adamw_torch_fused", 1e-6),
        ("adamw_8bit", "adamw_torch_fused", 3e-3),
        ("lion_8bit", "lion", 3e-3),
    ],
)
def test_bitsandbytes_follows_the_optimizer_it_is_named_after(
    optim: str, reference: str, tolerance: float
) -> None:
    shared = {"learning_rate": 1e-3, "weight_decay": 0.1, "adam_beta2": 0.99}
    for one, other in zip(
        _trained({"optim": optim, **shared}), _trained({"optim": reference, **shared}), strict=True
    ):
        assert (one - other).abs().max() <= tolerance


@pytest.mark.parametrize(
    "optim", ["adamw_torch_fused", "adamw_8bit", "paged_adamw_32bit", "paged_adamw_8bit"]
)
def test_adamw_takes_its_second_beta_from_the_config(optim: str) -> None:
    slow, fast = (_trained({"optim": optim, "adam_beta2": beta2}) for beta2 in (0.999, 0.9))
    assert not torch.equal(slow[0], fast[0])


@pytest.mark.parametrize("optim", NAMES["optim"].words)
def test_weights_that_are_not_decayed_keep_their_size_without_a_gradient(optim: str) -> None:
    hyper = Hyperparameters.from_config({"optim": optim, "learning_rate": 1e-2, "weight_decay": 0.5})
    weights = _weights()
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    optimizer = build_optimizer(weights, hyper, undecayed={"x.lora_B.w"})
    for weight in weights.values():
        weight.grad = torch.zeros_like(weight)
    set_learning_rate(optimizer, 1.0)
    optimizer.step()
    assert torch.equal(weights["x.lora_B.w"], before["x.lora_B.w"])
    assert weights["x.lora_A.w"].norm() < before["x.lora_A.w"].norm()


def _small_model(kind: str) -> PreTrainedModel:
    shared: dict[str, Any] = {"vocab_size": 32, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    if kind == "gpt2":
        return GPT2LMHeadModel(GPT2Config(**shared, n_embd=8, n_layer=1, n_head=2))
    if kind == "t5":
        sizes: dict[str, Any] = {"d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2}
        return T5ForConditionalGeneration(T5Config(**shared, **sizes))
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    return Phi3ForCausalLM(Phi3Config(**shared, **sizes))


@pytest.mark.parametrize("kind", ["phi3", "gpt2", "t5"])
def test_what_is_not_decayed_is_what_transformers_trainer_leaves_out(kind: str) -> None:
    model = _small_model(kind)
    parameters = dict(model.named_parameters())
    decayed = Trainer.get_decay_parameter_names(None, model)  # type: ignore[arg-type]
    assert undecayed_names(model, parameters) == parameters.keys() - set(decayed)
    assert 0 < len(decayed) < len(parameters)


def test_paged_buffers_of_a_trial_that_is_gone_serve_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU nothing is paged: the library's two calls that need a GPU are stood in for."""
    made: list[torch.Tensor] = []

    class Managed(torch.Tensor):
        is_paged = True

    def get_state_buffer(_: object, p: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        made.append(torch.zeros(p.shape, dtype=dtype).as_subclass(Managed))
        return made[-1]

    base = bitsandbytes.optim.optimizer.Optimizer8bit
    monkeypatch.setattr(base, "get_state_buffer", get_state_buffer)
    monkeypatch.setattr(bitsandbytes.functional, "fill", torch.Tensor.fill_)
    weight = torch.nn.Parameter(torch.ones(3, 7))
    first, rival = PagedAdamW([weight]), PagedAdamW([weight])
    buffers = [first.get_state_buffer(weight), first.get_state_buffer(weight)]
    assert rival.get_state_buffer(weight) is made[2]
    buffers[0].fill_(5.0)
    del first
    gc.collect()
    second = PagedAdamW([weight])
    again = [second.get_state_buffer(weight), second.get_state_buffer(weight)]
    assert {id(buffer) for buffer in again} == {id(buffer) for buffer in buffers}
    assert not any(buffer.any() for buffer in again)
    assert second.get_state_buffer(torch.nn.Parameter(torch.ones(7, 3))) is made[3]
    assert len(made) == 4
