"""What a trial leaves on disk: what its files say, and that other programs read them so."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from orchestrator.contracts import CurvePoint, Scalar
from tests.support.families import make_family
from tests.support.tiny import make_task, make_trial
from workers.models.base import BaseModel, load_base
from workers.training.adapters import add_adapter
from workers.training.encoding import encode_task
from workers.training.export import export_adapter
from workers.training.hyperparameters import Hyperparameters

TASK = make_task()
TOKENS = torch.arange(1, 25).view(2, 12)


def export(base: BaseModel, root: Path, config: dict[str, Scalar], **measured: Any) -> Path:
    """Export an adapter whose weights have moved."""
    trial = make_trial(Path(base.location.path_or_id), TASK, config=config)
    examples = encode_task(base.tokenizer, TASK, max_length_tokens=64).train
    adapted = add_adapter(base, Hyperparameters.from_config(trial.config), trial.trial_id, examples)
    with torch.no_grad():
        for number, weight in enumerate(adapted.parameters.values()):
            weight.add_(0.01 * (number % 3 + 1))
    point = CurvePoint(
        trial_id=trial.trial_id,
        attempt=0,
        task_id=trial.task_id,
        config_id=trial.config_id,
        seed=0,
        epoch=1,
        step=3,
        tokens=100,
        train_loss=2.0,
        eval_loss=1.25,
        eval_exact_match=0.5,
        eval_token_f1=0.625,
        test_loss=1.5,
        test_exact_match=0.25,
        test_token_f1=0.375,
        train_s=1.0,
        eval_s=1.0,
        cpu_s=1.0,
        peak_memory_bytes=1,
        device="cpu",
    )
    return export_adapter(root, trial, adapted, [replace(point, **measured)], 1)


def settings_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "adapter_config.json").read_text())
    return found


@pytest.mark.parametrize("use_rslora", [False, True])
@pytest.mark.parametrize("name", ["pissa_niter_16", "olora", "corda"])
def test_an_adapter_on_rewritten_weights_is_exported_as_a_plain_one_of_twice_the_rank(
    loaded_base: BaseModel, tmp_path: Path, name: str, use_rslora: bool
) -> None:
    config: dict[str, Scalar] = {"init_lora_weights": name, "use_rslora": use_rslora, "alpha_over_r": 4.0}
    folder = export(loaded_base, tmp_path, config)
    found = settings_of(folder)
    assert found["init_lora_weights"] is True
    assert found["r"] == 8
    assert found["use_rslora"] is False
    scale = 4.0 * 4 / (4**0.5 if use_rslora else 4)
    assert found["lora_alpha"] / found["r"] == pytest.approx(scale)
    model = PeftModel.from_pretrained(loaded_base.structure_copy(), folder)
    layer: Any = model.base_model.model.model.layers[0].mlp.down_proj
    whole = loaded_base.model.get_parameter("model.layers.0.mlp.down_proj.weight")
    assert torch.equal(layer.base_layer.weight, whole)


@pytest.mark.parametrize(
    ("name", "quant"), [("eva", "none"), ("orthogonal", "none"), ("corda", "none"), ("loftq", "nf4")]
)
def test_a_loaded_adapter_begins_nothing_anew(
    random_base: Path, tmp_path: Path, name: str, quant: str
) -> None:
    base = load_base(str(random_base), quant=quant)
    found = settings_of(export(base, tmp_path, {"init_lora_weights": name, "quant": quant}))
    assert found["init_lora_weights"] is True
    assert found["eva_config"] is None
    assert found["corda_config"] is None
    assert not found["loftq_config"]


@pytest.mark.parametrize(
    ("family", "config", "kind"),
    [
        ("phi3", {}, "CAUSAL_LM"),
        ("t5", {}, "SEQ_2_SEQ_LM"),
        ("t5", {"peft_method": "prompt"}, "SEQ_2_SEQ_LM"),
        ("phi3", {"peft_method": "prefix"}, "CAUSAL_LM"),
    ],
)
def test_an_adapter_says_what_it_is_for(
    tmp_path: Path, family: str, config: dict[str, Scalar], kind: str
) -> None:
    base = load_base(str(make_family(family, tmp_path / "model")))
    found = settings_of(export(base, tmp_path, config))
    assert found["task_type"] == kind
    assert found["base_model_name_or_path"] == base.location.path_or_id
    assert found["inference_mode"] is True


def test_veras_random_matrices_are_in_the_file(loaded_base: BaseModel, tmp_path: Path) -> None:
    folder = export(loaded_base, tmp_path, {"peft_method": "vera", "vera_r": 8})
    tensors = load_file(folder / "adapter_model.safetensors")
    assert tensors["base_model.vera_A"].shape[0] == 8
    assert settings_of(folder)["save_projection"] is True


def test_a_card_says_what_was_trained_and_how_to_load_it(loaded_base: BaseModel, tmp_path: Path) -> None:
    folder = export(loaded_base, tmp_path, {"lora_r": 4}, eval_rouge_l=0.75, test_rouge_l=0.875)
    card = (folder / "README.md").read_text()
    for said in (
        "library_name: peft",
        f"base_model: {loaded_base.location.path_or_id}",
        "# elders: adapter (lora)",
        "| lora_r | 4 |",
        "PeftModel.from_pretrained(base",
        "AutoModelForCausalLM",
        "| validation ROUGE-L |",
        "| 1 | 2.0000 | 1.2500 | 0.5000 | 0.6250 | 0.7500 | 1.5000 | 0.2500 | 0.3750 | 0.8750 |",
    ):
        assert said in card
    assert "license:" not in card


def test_a_card_leaves_out_what_was_not_measured(loaded_base: BaseModel, tmp_path: Path) -> None:
    card = (export(loaded_base, tmp_path, {}) / "README.md").read_text()
    assert "ROUGE" not in card
    assert "| 1 | 2.0000 | 1.2500 | 0.5000 | 0.6250 | 1.5000 | 0.2500 | 0.3750 |" in card


def test_a_whole_model_has_its_tokenizer_and_another_card(loaded_base: BaseModel, tmp_path: Path) -> None:
    folder = export(loaded_base, tmp_path, {"peft_method": "full"})
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= names
    assert "adapter_config.json" not in names
    card = (folder / "README.md").read_text()
    assert "library_name: transformers" in card
    assert "AutoModelForCausalLM.from_pretrained(" in card
    assert "peft" not in card.split("| hyperparameter")[0]
    again = load_base(str(folder))
    assert not torch.equal(again.model(TOKENS).logits, loaded_base.model(TOKENS).logits)
