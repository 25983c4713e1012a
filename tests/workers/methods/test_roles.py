"""Which layers a role means in each family, and what is said where there are none."""

from pathlib import Path

import pytest

from orchestrator.contracts import InvalidConfigError
from tests.support.families import make_family
from workers.methods.roles import target_module_names, targeted
from workers.models.facts import ModelFacts
from workers.models.location import locate

_SEPARATE = ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]
_ALL = {
    "phi3": ["down_proj", "gate_up_proj", "o_proj", "qkv_proj"],
    "llama": _SEPARATE,
    "mistral": _SEPARATE,
    "qwen2": _SEPARATE,
    "qwen3": _SEPARATE,
    "gemma": _SEPARATE,
    "gemma2": _SEPARATE,
    "gemma3": _SEPARATE,
    "t5": ["k", "o", "q", "v", "wi_0", "wi_1", "wo"],
    "bart": ["fc1", "fc2", "k_proj", "out_proj", "q_proj", "v_proj"],
    "gpt2": ["attn.c_proj", "c_attn", "c_fc", "mlp.c_proj"],
}
_QUERY_AND_VALUE = {"phi3": ["qkv_proj"], "t5": ["q", "v"], "gpt2": ["c_attn"]}


@pytest.mark.parametrize("family", _ALL)
def test_roles_mean_a_familys_own_layers(family: str, tmp_path: Path) -> None:
    layers = ModelFacts.of(locate(str(make_family(family, tmp_path / "model")))).linear_layers
    assert target_module_names(layers, "all-linear") == _ALL[family]
    attention, mlp = target_module_names(layers, "attn"), target_module_names(layers, "mlp")
    assert sorted({*attention, *mlp}) == _ALL[family]
    assert not {*attention} & {*mlp}
    assert target_module_names(layers, "qv") == _QUERY_AND_VALUE.get(family, ["q_proj", "v_proj"])
    # Nothing but the head is left out, and no layer is meant by two of the names.
    assert set(layers) - set(targeted(layers, _ALL[family])) == {"lm_head"}


def test_a_model_without_the_layers_is_refused_with_those_it_has() -> None:
    with pytest.raises(InvalidConfigError, match=r"attn: .* no attn layers .* c_attn, lm_head"):
        target_module_names(["h.0.c_attn", "lm_head"], "attn")


def test_a_name_within_a_name_is_another_layer() -> None:
    layers = {"h.0.attn.c_proj": (4, 4), "h.0.mlp.c_proj": (8, 4), "h.0.xattn.c_proj": (4, 4)}
    assert list(targeted(layers, ["attn.c_proj"])) == ["h.0.attn.c_proj"]
