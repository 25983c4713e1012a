"""The table of what can't be together names what there is, and holds what PEFT itself refuses."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch

from orchestrator.contracts import Scalar
from workers.spaces.combinations import FORBIDDEN, Combination, partners, refusals
from workers.spaces.names import NAMES


@pytest.mark.parametrize("combination", FORBIDDEN, ids=str)
def test_combination_is_made_of_known_names_and_values_and_has_a_reason(combination: Combination) -> None:
    assert len(combination.values) >= 2
    for name, values in combination.values.items():
        assert [NAMES[name].read(value) for value in values] == list(values)
    assert combination.reason


def test_refusal_names_the_values_that_meet_and_the_reason() -> None:
    config: dict[str, Scalar] = {"use_dora": True, "init_lora_weights": "olora", "quant": "nf4", "lora_r": 7}
    said = refusals(config)
    assert len(said) == 2
    assert said[0].startswith("init_lora_weights = olora with quant = nf4 can't be: ")
    assert said[1].startswith("use_dora = true with init_lora_weights = olora can't be: DoRA learns")
    assert refusals(config | {"init_lora_weights": "default"}) == []
    assert refusals({"init_lora_weights": "loftq"}) == []


def test_partners_are_the_words_beside_which_a_choice_is_left() -> None:
    assert partners("quant", "peft_method") == ("lora", "miss", "oft", "ia3", "vera", "prefix", "prompt")
    assert partners("packing", "peft_method") == ("lora", "miss", "oft", "ia3", "vera", "full")


def _layer(quant: str) -> torch.nn.Module:
    bnb = pytest.importorskip("bitsandbytes")
    layers: dict[str, Callable[[], torch.nn.Module]] = {
        "none": partial(torch.nn.Linear, 16, 16),
        "int8": partial(bnb.nn.Linear8bitLt, 16, 16, has_fp16_weights=False),
        "nf4": partial(bnb.nn.Linear4bit, 16, 16, quant_type="nf4"),
    }
    return layers[quant]().to("cpu")


@pytest.mark.parametrize(
    ("config", "error", "said"),
    [
        ({"lora_r": 3, "init_lora_weights": "orthogonal", "quant": "none"}, ValueError, "even"),
        ({"lora_r": 4, "init_lora_weights": "orthogonal", "quant": "nf4"}, RuntimeError, "floating point"),
        ({"lora_r": 4, "init_lora_weights": "orthogonal", "quant": "int8"}, RuntimeError, "floating point"),
        ({"lora_r": 4, "init_lora_weights": "pissa_niter_16", "quant": "nf4"}, TypeError, "float32"),
        ({"lora_r": 4, "init_lora_weights": "pissa_niter_16", "quant": "int8"}, TypeError, "float32"),
        ({"lora_r": 4, "init_lora_weights": "corda", "quant": "nf4"}, TypeError, "float32"),
    ],
    ids=str,
)
def test_what_peft_refuses_is_in_the_table(config: dict[str, Any], error: type[Exception], said: str) -> None:
    """PEFT is asked, so that an entry is seen to be needed or, after an update, to be needed no more."""
    from peft import LoraConfig, get_peft_model
    from peft.tuners.lora.config import CordaConfig

    assert len(refusals(config)) == 1
    lora = LoraConfig(
        r=config["lora_r"],
        init_lora_weights=config["init_lora_weights"],
        target_modules=["0"],
        corda_config=CordaConfig() if config["init_lora_weights"] == "corda" else None,
    )
    with pytest.raises(error, match=said):
        get_peft_model(torch.nn.Sequential(_layer(config["quant"])), lora)
