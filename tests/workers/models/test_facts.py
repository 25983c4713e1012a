"""What config.json tells of a model is what the loaded model is."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, Gemma3Config, Qwen2Config, T5Config

from orchestrator.contracts import InputError
from tests.support.families import FAMILIES, make_family
from workers.models.base import load_base
from workers.models.facts import ModelFacts
from workers.models.location import ModelLocation, locate


def _at(folder: Path) -> ModelLocation:
    """A folder without weights."""
    return ModelLocation(name="x", path_or_id=str(folder), revision=None, fingerprint="none")


@pytest.mark.parametrize("family", [*FAMILIES, "mixtral", "mt5"])
def test_facts_are_those_of_the_loaded_model(tmp_path: Path, family: str) -> None:
    folder = make_family(family, tmp_path)
    facts = ModelFacts.of(locate(str(folder)))
    model: Any = load_base(str(folder)).model
    assert facts.model_type == model.config.model_type
    assert facts.is_encoder_decoder == (family in ("t5", "mt5", "bart"))
    assert facts.parameters == sum(weight.numel() for weight in model.parameters())
    layers = {
        n: (m.in_features, m.out_features) for n, m in model.named_modules() if type(m) is torch.nn.Linear
    }
    if not facts.is_transposed:
        assert facts.linear_layers == layers
    assert (facts.vocabulary, facts.hidden_size) == model.get_input_embeddings().weight.shape
    assert (facts.layers, facts.heads, facts.head_dim) == (2, 2, 16)
    assert facts.encoder_layers == (2 if facts.is_encoder_decoder else 0)
    assert facts.tied_embeddings == (
        model.get_output_embeddings().weight is model.get_input_embeddings().weight
    )
    assert facts.sliding_window == (24 if family in ("mistral", "gemma2", "gemma3") else None)
    assert facts.max_positions == (None if family in ("t5", "mt5") else 256)
    assert facts.kv_heads == (2 if family in ("t5", "mt5", "bart", "gpt2") else 1)


def test_a_model_without_attention_has_no_heads(tmp_path: Path) -> None:
    facts = ModelFacts.of(locate(str(make_family("mamba", tmp_path))))
    assert (facts.heads, facts.kv_heads, facts.sliding_window) == (0, 0, None)


def test_a_decoder_may_be_another_size_than_its_encoder(tmp_path: Path) -> None:
    T5Config(num_layers=3, num_decoder_layers=5, vocab_size=100).save_pretrained(tmp_path)
    facts = ModelFacts.of(_at(tmp_path))
    assert (facts.encoder_layers, facts.layers) == (3, 5)


def test_a_window_that_is_switched_off_is_none(tmp_path: Path) -> None:
    Qwen2Config(sliding_window=64, use_sliding_window=False, vocab_size=100).save_pretrained(tmp_path)
    assert ModelFacts.of(_at(tmp_path)).sliding_window is None


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (Gemma3Config(), r"takes more than text \(model type 'gemma3'\); give the text model"),
        (BertConfig(architectures=["BertForMaskedLM"]), "no language model .* saved as BertForMaskedLM"),
        (Qwen2Config(architectures=["Qwen2Model"]), "no language model that answers in text"),
    ],
)
def test_what_is_no_model_of_text_to_text_is_refused(tmp_path: Path, config: Any, reason: str) -> None:
    config.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=reason):
        ModelFacts.of(_at(tmp_path))


@pytest.mark.parametrize(
    "content",
    [
        "{",
        json.dumps({"model_type": "unheard-of"}),
        json.dumps({"model_type": "own", "auto_map": {"AutoConfig": "configuration_own.OwnConfig"}}),
        json.dumps({}),
    ],
)
def test_a_config_that_transformers_does_not_know_is_one_sentence(tmp_path: Path, content: str) -> None:
    """Code that lies beside it is not run."""
    (tmp_path / "config.json").write_text(content)
    (tmp_path / "configuration_own.py").write_text("raise SystemExit('must not run')")
    with pytest.raises(InputError, match=r"config\.json can't be used: ") as refusal:
        ModelFacts.of(_at(tmp_path))
    assert "\n" not in str(refusal.value)
