"""What micro-batches keep for their backward pass: foretold from shapes, and measured."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.live_bytes import allocated_bytes, kept_tensors
from tests.workers.footprint.geometry import phi3_mini
from workers.footprint.activations import Rows, kept_bytes
from workers.footprint.estimate import estimate
from workers.footprint.lengths import Lengths, training_rows
from workers.footprint.tracing import Places, trace_base
from workers.footprint.trained import TRAINED_BYTES, size, trained_shapes
from workers.footprint.weights import ELEMENT_BYTES, state_bytes
from workers.models.base import load_base
from workers.models.facts import ModelFacts
from workers.training.adapters import add_adapter
from workers.training.encoding import EncodedExample
from workers.training.forward import make_batch, target_logits
from workers.training.hyperparameters import Hyperparameters

ROWS, WIDTH, ANSWER = 8, 48, 12
METHODS: dict[str, dict[str, Any]] = {
    "lora": {"lora_dropout": 0.0},
    "lora with dropout": {"lora_dropout": 0.1},
    "lora on mlp": {"lora_dropout": 0.0, "target_modules": "mlp"},
    "dora": {"use_dora": True, "lora_dropout": 0.0},
    "dora with dropout": {"use_dora": True, "lora_dropout": 0.1},
    "ia3": {"peft_method": "ia3"},
    "miss": {"peft_method": "miss"},
    "oft": {"peft_method": "oft"},
    "vera": {"peft_method": "vera"},
    "prompt": {"peft_method": "prompt"},
    "full": {"peft_method": "full"},
}
LENGTHS = Lengths(prompt_tokens=WIDTH - ANSWER, answer_tokens=ANSWER, example_tokens=WIDTH, held_out=ROWS)


def _examples() -> list[EncodedExample]:
    """Rows of which one is shorter, so that they are padded."""
    dice = random.Random(0)
    rows = [[dice.randrange(10, 60) for _ in range(WIDTH - (number == 0))] for number in range(ROWS)]
    return [EncodedExample(tuple(row), len(row) - ANSWER, "x") for row in rows]


def _foretold_and_measured(folder: str, dtype: str, values: dict[str, Any]) -> tuple[int, int]:
    hyper = Hyperparameters(**values)
    base = load_base(folder, quant=hyper.quant, dtype=dtype)
    facts = ModelFacts.of(base.location)
    adapted = add_adapter(base, hyper, "trial")
    batch = make_batch(adapted.model, _examples())

    def forward() -> torch.Tensor:
        with adapted.micro_batch(0, 0):
            return target_logits(adapted.model, batch, virtual=adapted.virtual)

    if hyper.quant == "int8":  # its layers keep their inputs without autograd's knowledge
        forward()
        measured = allocated_bytes(forward, base.device)[0]
    else:
        with kept_tensors(adapted.model) as kept:
            logits = forward()
            measured = kept.size_bytes()
        del logits
    trace = trace_base(base.location, dtype, trains_weights=hyper.peft_method == "full")
    rows = training_rows(hyper, facts, LENGTHS, micro_batch_tokens=4096)
    rows = Rows(rows=ROWS, places=rows.places, targets=ROWS * ANSWER)
    return kept_bytes(hyper, facts, trace, ELEMENT_BYTES[dtype], rows), measured


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("method", METHODS)
def test_kept_activations_are_foretold_within_a_twentieth(
    family: Callable[[str], str], method: str, dtype: str
) -> None:
    foretold, measured = _foretold_and_measured(family("phi3"), dtype, METHODS[method])
    assert foretold == pytest.approx(measured, rel=0.05)


@pytest.mark.parametrize("name", ["llama", "qwen3", "gemma2", "gemma3", "gpt2", "t5", "bart"])
def test_every_architecture_is_foretold_within_a_tenth(family: Callable[[str], str], name: str) -> None:
    foretold, measured = _foretold_and_measured(family(name), "float32", METHODS["lora with dropout"])
    assert foretold == pytest.approx(measured, rel=0.1)


@pytest.mark.parametrize("quant", ["int8", "nf4"])
@pytest.mark.parametrize("method", ["lora", "dora", "oft"])
def test_quantised_bases_are_foretold_within_a_twentieth(
    family: Callable[[str], str], method: str, quant: str
) -> None:
    foretold, measured = _foretold_and_measured(
        family("llama"), "bfloat16", METHODS[method] | {"quant": quant}
    )
    assert foretold == pytest.approx(measured, rel=0.05)


def test_prefixes_are_foretold_with_no_less_than_they_keep(family: Callable[[str], str]) -> None:
    foretold, measured = _foretold_and_measured(family("phi3"), "float32", {"peft_method": "prefix"})
    assert measured <= foretold <= 1.3 * measured


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("phi3-mini")


def test_phi3_mini_keeps_five_and_a_half_mebibytes_a_token(mini: Path) -> None:
    """Measured at this geometry with hooks: 5.5 MiB, base in bfloat16, adapters in float32 on all layers."""
    location = phi3_mini(mini)
    hyper = Hyperparameters(lora_r=8, lora_dropout=0.0)
    rows = Rows(rows=8, places=Places(0, 64), targets=8 * 64)
    kept = kept_bytes(hyper, ModelFacts.of(location), trace_base(location, "bfloat16"), 2, rows)
    assert kept / (8 * 64) / 2**20 == pytest.approx(5.5, rel=0.02)


@pytest.mark.parametrize(("rank", "slot_gib"), [(8, 0.19), (16, 0.38), (64, 1.5), (128, 3.0)])
def test_phi3_minis_adapters_take_sixteen_bytes_a_weight(mini: Path, rank: int, slot_gib: float) -> None:
    """Weight, gradient and two moments in float32, as measured at this geometry."""
    shapes = trained_shapes(Hyperparameters(lora_r=rank), ModelFacts.of(phi3_mini(mini)))
    slot = 2 * TRAINED_BYTES * size(shapes) + state_bytes(shapes, "adamw_torch_fused", on_gpu=True)
    assert slot / 2**30 == pytest.approx(slot_gib, rel=0.02)


def test_a_larger_micro_batch_never_needs_less(mini: Path) -> None:
    location, hyper = phi3_mini(mini), Hyperparameters(batch_size=64)
    lengths = Lengths(prompt_tokens=96, answer_tokens=32, example_tokens=128, held_out=100)
    totals = [
        estimate(hyper, location, "bfloat16", lengths, micro_batch_tokens=tokens, on_gpu=True).total_bytes
        for tokens in (1, 128, 256, 1000, 4096, 8192)
    ]
    assert totals == sorted(totals)
