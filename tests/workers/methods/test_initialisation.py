"""How LoRA's matrices begin, held against what the methods say and against PEFT's own code."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import EvaConfig, get_eva_state_dict

from orchestrator.contracts import InvalidConfigError
from tests.support.tiny import make_task
from tests.workers.methods.conftest import LoadFamily
from workers.methods.initialisation import INITIALISATION_EXAMPLES, choose_examples, principal_inputs
from workers.models.base import BaseModel
from workers.models.location import locate
from workers.models.weights import read_weights
from workers.training.adapters import ADAPTER, add_adapter
from workers.training.encoding import EncodedExample, encode_task
from workers.training.hyperparameters import Hyperparameters

LAYER = "model.layers.1.mlp.down_proj"


def examples_for(base: BaseModel, facts: int = 6) -> tuple[EncodedExample, ...]:
    return encode_task(base.tokenizer, make_task(facts), max_length_tokens=64).train


def begin(base: BaseModel, **options: Any) -> Any:
    """The adapted layer that the tests look at."""
    hyper = Hyperparameters.from_config({"lora_r": 4, "lora_dropout": 0.0, **options})
    adapted = add_adapter(base, hyper, "trial", examples_for(base))
    layer: Any = adapted.model.get_submodule(LAYER)
    return layer


def product(layer: Any) -> torch.Tensor:
    """The matrix that the adapter adds."""
    a, b = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
    scaled: torch.Tensor = layer.scaling[ADAPTER] * b.detach() @ a.detach()
    return scaled


@pytest.mark.parametrize("name", ["pissa_niter_16", "olora", "corda"])
@pytest.mark.parametrize("use_rslora", [False, True])
def test_what_is_moved_into_the_adapter_is_taken_out_of_the_layer(
    load_family: LoadFamily, name: str, use_rslora: bool
) -> None:
    base = load_family("phi3")
    whole = base.model.get_parameter(f"{LAYER}.weight")
    layer = begin(base, init_lora_weights=name, use_rslora=use_rslora)
    moved = product(layer)
    torch.testing.assert_close(layer.base_layer.weight + moved, whole, rtol=1e-4, atol=1e-5)
    assert moved.norm() > 0.1 * whole.norm()


def test_pissa_takes_the_principal_part(load_family: LoadFamily) -> None:
    base = load_family("phi3")
    whole = base.model.get_parameter(f"{LAYER}.weight").detach()
    moved = product(begin(base, init_lora_weights="pissa_niter_16"))
    largest = torch.linalg.svdvals(whole)[:4]
    torch.testing.assert_close(torch.linalg.svdvals(moved)[:4], largest, rtol=1e-2, atol=0)


def test_eva_finds_what_pefts_own_search_finds(load_family: LoadFamily) -> None:
    base = load_family("phi3")
    examples = examples_for(base)
    rank = 4
    ours = principal_inputs(base.structure_copy(), [LAYER], rank, examples)[LAYER]
    config = LoraConfig(
        r=rank,
        target_modules=[LAYER],
        init_lora_weights="eva",
        eva_config=EvaConfig(rho=1.0, tau=0.999, use_label_mask=False),
    )
    width = max(len(example.tokens) for example in examples)
    short = [width - len(example.tokens) for example in examples]
    whole = {
        "input_ids": torch.tensor([(*e.tokens, *(0,) * n) for e, n in zip(examples, short, strict=True)]),
        "attention_mask": torch.tensor([[1] * (width - n) + [0] * n for n in short]),
    }
    with torch.random.fork_rng():
        found = get_eva_state_dict(base.structure_copy(), [whole], config, show_progress_bar=False)
    theirs = next(value for key, value in found.items() if LAYER in key)
    torch.testing.assert_close(ours @ ours.t(), torch.eye(rank), rtol=1e-4, atol=1e-4)
    overlap = torch.linalg.svdvals(ours @ theirs.float().t())
    assert overlap.min() > 0.99


def test_eva_begins_with_what_the_layers_inputs_vary_in(load_family: LoadFamily) -> None:
    base = load_family("phi3")
    layer = begin(base, init_lora_weights="eva", use_dora=True)
    found = principal_inputs(base.structure_copy(), [LAYER], 4, choose_examples(examples_for(base), "trial"))[
        LAYER
    ]
    assert torch.equal(layer.lora_A[ADAPTER].weight, found)
    assert not layer.lora_B[ADAPTER].weight.any()


def test_too_few_tokens_for_evas_rank_are_refused(load_family: LoadFamily) -> None:
    base = load_family("phi3")
    with pytest.raises(InvalidConfigError, match=r"lora_r = 32: .* only \d+ tokens"):
        principal_inputs(base.structure_copy(), [LAYER], 32, examples_for(base)[:1])


@pytest.mark.parametrize("name", ["eva", "corda"])
def test_initialisations_that_look_at_examples_need_some(load_family: LoadFamily, name: str) -> None:
    hyper = Hyperparameters.from_config({"lora_r": 4, "init_lora_weights": name})
    with pytest.raises(ValueError, match="looks at examples"):
        add_adapter(load_family("phi3"), hyper, "trial")


def test_the_examples_looked_at_are_a_keyed_choice(load_family: LoadFamily) -> None:
    examples = examples_for(load_family("phi3"), facts=40)
    assert len(examples) > INITIALISATION_EXAMPLES
    chosen = choose_examples(examples, "one")
    assert len(chosen) == INITIALISATION_EXAMPLES
    assert chosen == choose_examples(examples, "one")
    assert chosen != choose_examples(examples, "other")
    assert len(choose_examples(examples[:5], "one")) == 5


@pytest.mark.parametrize("use_rslora", [False, True])
def test_loftq_gives_back_the_best_part_of_what_nf4_took(load_family: LoadFamily, use_rslora: bool) -> None:
    from bitsandbytes.functional import dequantize_4bit

    whole = load_family("phi3").model.get_parameter(f"{LAYER}.weight").detach()
    layer = begin(load_family("phi3", "nf4"), quant="nf4", init_lora_weights="loftq", use_rslora=use_rslora)
    coarse = layer.base_layer.weight
    error = whole - dequantize_4bit(coarse.data, coarse.quant_state)
    left, sizes, right = torch.linalg.svd(error, full_matrices=False)
    torch.testing.assert_close(product(layer), left[:, :4] * sizes[:4] @ right[:4], rtol=1e-3, atol=1e-5)


def test_loftq_brings_the_model_nearer_to_the_unquantised_one(load_family: LoadFamily) -> None:
    base, coarse = load_family("phi3"), load_family("phi3", "nf4")
    tokens = torch.tensor([examples_for(base)[0].tokens])

    def distance(**options: Any) -> float:
        hyper = Hyperparameters.from_config({"lora_r": 24, "quant": "nf4", "lora_dropout": 0.0, **options})
        adapted = add_adapter(coarse, hyper, "trial")
        with torch.no_grad():
            return float((adapted.model(tokens).logits - base.model(tokens).logits).norm())

    assert distance(init_lora_weights="loftq") < 0.5 * distance()


def test_weights_are_read_from_shards_by_name(load_family: LoadFamily, tmp_path: Path) -> None:
    base = load_family("llama")
    base.model.save_pretrained(tmp_path, max_shard_size="20KB")
    base.tokenizer.save_pretrained(str(tmp_path))
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    location = locate(str(tmp_path))
    expected = dict(base.model.named_parameters())
    names = [name for name in expected if name.endswith("proj.weight")]
    found = dict(read_weights(location, names))
    assert sorted(found) == sorted(names)
    assert all(torch.equal(weight, expected[name]) for name, weight in found.items())
    with pytest.raises(InvalidConfigError, match=r"no weights called 'model\.nothing'"):
        dict(read_weights(location, [*names, "model.nothing"]))


def test_a_hub_models_weights_are_read_from_its_cache(
    load_family: LoadFamily, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = tmp_path / "models--nobody--tiny" / "snapshots" / commit
    snapshot.mkdir(parents=True)
    for path in Path(load_family("phi3").location.path_or_id).iterdir():
        (snapshot / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.file_download.HF_HUB_CACHE", str(tmp_path), raising=False)
    (tmp_path / "models--nobody--tiny" / "refs").mkdir()
    location = locate(f"nobody/tiny@{commit}")
    found = dict(read_weights(location, [f"{LAYER}.weight"]))
    assert torch.equal(found[f"{LAYER}.weight"], load_family("phi3").model.get_parameter(f"{LAYER}.weight"))


def test_plain_lora_begins_as_pefts_does(load_family: LoadFamily) -> None:
    base = load_family("phi3")
    theirs: Any = get_peft_model(
        base.structure_copy(), LoraConfig(r=4, target_modules=[LAYER], task_type="CAUSAL_LM")
    )
    ours = begin(base)
    expected = theirs.base_model.model.get_submodule(LAYER).lora_A[ADAPTER].weight
    assert ours.lora_A[ADAPTER].weight.shape == expected.shape
    bound = 1 / expected.shape[1] ** 0.5  # Kaiming's, of a linear layer
    assert ours.lora_A[ADAPTER].weight.abs().max() <= bound
    assert ours.lora_A[ADAPTER].weight.abs().max() > 0.9 * bound
    assert not ours.lora_B[ADAPTER].weight.any()
