"""Optimizers: what they do to a weight, and that their state comes back whole."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from workers.spaces.names import NAMES
from workers.training.hyperparameters import Hyperparameters
from workers.training.optimizers import Lion, build_optimizer, export_state, import_state, set_learning_rate


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
