"""Bytes of loaded bases and of optimizers' states, against what torch holds."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from workers.footprint.trained import trained_shapes
from workers.footprint.weights import state_bytes, weights_bytes
from workers.models.base import BaseModel, load_base
from workers.models.facts import ModelFacts
from workers.models.quantisation import shared_tensors
from workers.training.adapters import add_adapter
from workers.training.hyperparameters import Hyperparameters
from workers.training.optimizers import build_optimizer

OPTIMIZERS = ("adamw_torch_fused", "adamw_8bit", "paged_adamw_32bit", "lion", "lion_8bit", "adafactor", "sgd")


def _tensors(model: Any) -> Iterator[torch.Tensor]:
    """All that a base's weights are made of: values, scales, and scales of scales."""
    buffers = {id(buffer) for buffer in model.buffers()}
    yield from (tensor for tensor in shared_tensors(model) if id(tensor) not in buffers)
    for weight in model.parameters():
        state = getattr(weight, "quant_state", None)
        if state is not None:
            yield from (state.absmax, state.code, state.offset, state.state2.absmax, state.state2.code)


def _held_bytes(base: BaseModel) -> int:
    storages = {tensor.untyped_storage()._cdata: tensor.untyped_storage() for tensor in _tensors(base.model)}
    return sum(storage.nbytes() for storage in storages.values())


@pytest.mark.parametrize("quant", ["none", "int8", "nf4"])
@pytest.mark.parametrize(
    ("name", "dtype"), [("phi3", "float32"), ("llama", "bfloat16"), ("gemma3", "bfloat16"), ("t5", "float32")]
)
def test_weights_are_counted_to_the_byte(
    family: Callable[[str], str], name: str, quant: str, dtype: str
) -> None:
    base = load_base(family(name), quant=quant, dtype=dtype)
    assert weights_bytes(ModelFacts.of(base.location), quant, dtype) == _held_bytes(base)


@pytest.mark.parametrize("optim", OPTIMIZERS)
def test_states_of_optimizers_are_counted(family: Callable[[str], str], optim: str) -> None:
    base = load_base(family("phi3"))
    hyper = Hyperparameters(optim=optim, lora_r=64, lora_dropout=0.0)
    adapted = add_adapter(base, hyper, "trial")
    optimizer = build_optimizer(adapted.parameters, hyper)
    for weight in adapted.parameters.values():
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    held = sum(
        value.nbytes
        for state in optimizer.state.values()
        for key, value in state.items()
        if isinstance(value, torch.Tensor) and value.dim() and not key.startswith("qmap")
    )
    counted = state_bytes(trained_shapes(hyper, ModelFacts.of(base.location)), optim, on_gpu=False)
    assert counted == held


@given(st.lists(st.tuples(st.integers(1, 500), st.integers(1, 500)), min_size=1), st.sampled_from(OPTIMIZERS))
def test_paging_never_adds_to_what_a_gpu_holds(shapes: list[tuple[int, int]], optim: str) -> None:
    counted = Counter[tuple[int, ...]](shapes)
    assert state_bytes(counted, optim, on_gpu=True) <= state_bytes(counted, optim, on_gpu=False)
