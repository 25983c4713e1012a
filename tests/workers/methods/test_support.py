"""Which configs are refused on which models, with the reason and a way out."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.contracts import InvalidConfigError
from workers.methods.support import check_support, refusals, target_names
from workers.models.facts import ModelFacts
from workers.training.hyperparameters import Hyperparameters

_PHI3 = ModelFacts(
    model_type="phi3",
    is_encoder_decoder=False,
    hidden_size=48,
    layers=1,
    encoder_layers=0,
    heads=2,
    kv_heads=2,
    head_dim=24,
    vocabulary=100,
    parameters=50_000,
    linear_layers={
        "model.layers.0.self_attn.qkv_proj": (48, 144),
        "model.layers.0.self_attn.o_proj": (48, 48),
        "model.layers.0.mlp.gate_up_proj": (48, 192),
        "model.layers.0.mlp.down_proj": (96, 48),
        "lm_head": (48, 100),
    },
    max_positions=256,
    sliding_window=None,
    tied_embeddings=False,
)
_T5 = replace(_PHI3, model_type="t5", is_encoder_decoder=True)


@pytest.mark.parametrize(
    ("config", "facts", "reason"),
    [
        ({"peft_method": "full", "quant": "nf4"}, _PHI3, "quantised weights take no gradient"),
        ({"init_lora_weights": "loftq"}, _PHI3, "LoftQ begins with what nf4 took"),
        ({"use_dora": True, "init_lora_weights": "olora"}, _PHI3, "DoRA learns the norms"),
        ({"lora_r": 5, "init_lora_weights": "orthogonal"}, _PHI3, "the rank must be even"),
        (
            {"peft_method": "miss", "miss_r": 36},
            _PHI3,
            r"miss_r = 36 does not divide the 48 inputs of model.*qkv_proj; take a divisor of 48",
        ),
        (
            {"peft_method": "oft", "oft_block_size": 32},
            _PHI3,
            r"oft_block_size = 32 does not divide the 48 inputs",
        ),
        (
            {"lora_r": 64, "init_lora_weights": "pissa_niter_16"},
            _PHI3,
            r"lora_r = 64 with init_lora_weights = pissa_niter_16: there are only 48 directions in model",
        ),
        ({"lora_r": 64, "init_lora_weights": "eva"}, _PHI3, "only 48 directions"),
        ({"peft_method": "prefix"}, _T5, r"prefix on an encoder-decoder \(t5\).*take prompt"),
        (
            {"peft_method": "prompt", "num_virtual_tokens": 16},
            replace(_PHI3, sliding_window=16),
            "num_virtual_tokens = 16 fill the 16 places",
        ),
        ({"packing": True}, _T5, r"packing = true on t5: .* take packing = false, or a model of gemma"),
        (
            {"prompt_loss_weight": 0.1},
            _T5,
            r"prompt_loss_weight = 0\.1 on an encoder-decoder \(t5\).*take 0",
        ),
        (
            {"peft_method": "prompt"},
            replace(_PHI3, model_type="mamba"),
            "prompt on mamba: answers could not be generated behind its places",
        ),
        (
            {"target_modules": "mlp"},
            replace(_PHI3, linear_layers={"q_proj": (4, 4), "v_proj": (4, 4)}),
            "no mlp layers under a known name; its linear layers are q_proj, v_proj",
        ),
    ],
)
def test_what_can_not_run_is_refused_with_the_reason(
    config: dict[str, Any], facts: ModelFacts, reason: str
) -> None:
    with pytest.raises(InvalidConfigError, match=reason):
        check_support(Hyperparameters.from_config(config), facts)


def test_all_reasons_are_given_together() -> None:
    config: dict[str, Any] = {"use_dora": True, "init_lora_weights": "olora", "lora_r": 64}
    assert len(refusals(Hyperparameters.from_config(config), _PHI3)) == 2


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"lora_r": 64},
        {"lora_r": 48, "init_lora_weights": "pissa_niter_16"},
        {"peft_method": "miss", "miss_r": 24},
        {"peft_method": "oft", "oft_block_size": 16, "quant": "int8"},
        {"peft_method": "oft", "oft_block_size": 48, "target_modules": "attn"},
        {"peft_method": "prompt"},
        {"peft_method": "full"},
    ],
)
def test_what_can_run_is_not_refused(config: dict[str, Any]) -> None:
    assert refusals(Hyperparameters.from_config(config), _PHI3) == []


def test_a_plan_asks_without_torch() -> None:
    """Importing torch takes seconds, and a driver has no use for it."""
    program = "import sys, workers.methods.support; assert not {'torch', 'peft'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[3])


@pytest.mark.parametrize(
    ("method", "names"),
    [
        ("lora", ["down_proj", "gate_up_proj", "o_proj", "qkv_proj"]),
        ("vera", ["down_proj", "gate_up_proj", "o_proj", "qkv_proj"]),
        ("ia3", ["down_proj", "qkv_proj"]),
        ("prefix", []),
        ("full", []),
    ],
)
def test_methods_change_the_layers_they_are_known_for(method: str, names: list[str]) -> None:
    assert target_names(Hyperparameters.from_config({"peft_method": method}), _PHI3) == names
