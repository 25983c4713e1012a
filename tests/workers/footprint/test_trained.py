"""Shapes that methods train, against the adapters that are made."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from workers.footprint.trained import size, trained_shapes
from workers.models.base import load_base
from workers.models.facts import ModelFacts
from workers.training.adapters import add_adapter
from workers.training.hyperparameters import Hyperparameters

METHODS: list[dict[str, Any]] = [
    {"lora_r": 8},
    {"lora_r": 4, "use_dora": True, "target_modules": "qv"},
    {"peft_method": "miss"},
    {"peft_method": "oft"},
    {"peft_method": "vera", "target_modules": "mlp"},
    {"peft_method": "prompt"},
    {"peft_method": "full"},
]


@pytest.mark.parametrize("values", METHODS, ids=str)
@pytest.mark.parametrize("name", ["phi3", "qwen3", "t5"])
def test_trained_numbers_are_counted_exactly(
    family: Callable[[str], str], name: str, values: dict[str, Any]
) -> None:
    base = load_base(family(name))
    hyper = Hyperparameters(**values)
    adapted = add_adapter(base, hyper, "trial")
    counted = size(trained_shapes(hyper, ModelFacts.of(base.location)))
    assert counted == sum(weight.numel() for weight in adapted.parameters.values())


def test_shapes_of_lora_are_those_of_its_matrices(family: Callable[[str], str]) -> None:
    base = load_base(family("llama"))
    hyper = Hyperparameters()
    adapted = add_adapter(base, hyper, "trial")
    made = Counter(tuple(weight.shape) for weight in adapted.parameters.values())
    assert trained_shapes(hyper, ModelFacts.of(base.location)) == made


@pytest.mark.parametrize("method", ["ia3", "prefix"])
def test_vectors_and_prefixes_are_counted_exactly(family: Callable[[str], str], method: str) -> None:
    base = load_base(family("gemma3"))
    hyper = Hyperparameters(peft_method=method)
    adapted = add_adapter(base, hyper, "trial")
    counted = size(trained_shapes(hyper, ModelFacts.of(base.location)))
    assert counted == sum(weight.numel() for weight in adapted.parameters.values())
