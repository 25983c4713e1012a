"""Every method on every family in every precision that is declared valid: it trains, and loads again.

By default one family runs with all initialisations and precisions in bfloat16, and each kind of family with
every method; ``-m slow`` runs the rest.
"""

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

from orchestrator.contracts import InvalidConfigError
from tests.support.methods import METHODS, VARIANTS
from tests.support.tiny import make_task, make_trial
from tests.workers.methods.conftest import LoadFamily
from workers.methods.scaling import replace_scaled_forwards
from workers.methods.support import refusals
from workers.models.base import BaseModel
from workers.models.facts import ModelFacts, model_class
from workers.training.adapters import ADAPTER
from workers.training.encoding import EncodedExample, encode_task
from workers.training.export import write_weights
from workers.training.forward import make_batch, target_logits, target_losses
from workers.training.hyperparameters import Hyperparameters
from workers.training.run import TrialRun

FAMILIES = ("phi3", "llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3", "gpt2", "t5", "bart")
_BY_DEFAULT = ("phi3", "llama", "qwen3", "gemma3", "t5")
TASK = make_task()


def combinations() -> Iterator[Any]:
    """All of them, marked as slow or not."""
    for family, name, quant, dtype in itertools.product(
        FAMILIES, VARIANTS, ("none", "int8", "nf4"), ("float32", "bfloat16")
    ):
        is_each = family in _BY_DEFAULT and name in METHODS and (quant, dtype) == ("none", "float32")
        is_quick = is_each or (family, dtype) == ("phi3", "bfloat16")
        marks = () if is_quick else (pytest.mark.slow,)
        yield pytest.param(family, name, quant, dtype, marks=marks)


@pytest.mark.parametrize(("family", "name", "quant", "dtype"), list(combinations()))
def test_what_is_valid_trains_and_loads_again_and_the_rest_is_refused(
    load_family: LoadFamily, tmp_path: Path, family: str, name: str, quant: str, dtype: str
) -> None:
    config = {**VARIANTS[name], "quant": quant, "batch_size": 4}
    base = load_family(family, quant, dtype)
    hyper = Hyperparameters.from_config(config)
    trial = make_trial(Path(base.location.path_or_id), TASK, config=config)
    encoded = encode_task(base.tokenizer, TASK, max_length_tokens=64)
    if refusals(hyper, ModelFacts.of(base.location)):
        with pytest.raises(InvalidConfigError):
            TrialRun(trial, hyper, base, encoded)
        return
    run = TrialRun(trial, hyper, base, encoded)
    before = [weight.detach().clone() for weight in run.adapted.parameters.values()]
    assert math.isfinite(run.train_epoch().loss)
    after = run.adapted.parameters.values()
    assert any(not torch.equal(*pair) for pair in zip(before, after, strict=True))
    run.adapted.model.train(False)
    with torch.no_grad():
        batch = make_batch(run.adapted.model, encoded.validation)
        logits = target_logits(run.adapted.model, batch, virtual=run.adapted.virtual)
        trained = target_losses(logits, batch).mean().item()
    write_weights(run.adapted, tmp_path / "out")
    again = loss_of_the_folder(tmp_path / "out", base, encoded.validation)
    assert again == pytest.approx(trained, rel=1e-5 if dtype == "float32" else 2e-2)


def loss_of_the_folder(folder: Path, base: BaseModel, examples: tuple[EncodedExample, ...]) -> float:
    """Load what was exported as its user does, and return its loss by its own forward pass."""
    if (folder / "adapter_config.json").exists():
        model: Any = PeftModel.from_pretrained(base.structure_copy(), folder)
        if base.quant != "none" and base.dtype == "bfloat16":
            replace_scaled_forwards(model, ADAPTER)  # there PEFT's own forward of (IA)^3 mixes up types
    else:
        loader = model_class(base.model.config)
        model = loader.from_pretrained(folder, dtype=base.model.dtype)
    with torch.no_grad():
        return float(model(**as_transformers_batch(examples, base)).loss)


def as_transformers_batch(examples: tuple[EncodedExample, ...], base: BaseModel) -> dict[str, torch.Tensor]:
    """Pad examples with labels of -100, apart for an encoder and its decoder."""
    is_paired = base.model.config.is_encoder_decoder
    inputs, labels = [], []
    for example in examples:
        prompt, answer = list(example.tokens[: example.prompt_tokens]), list(example.answer_tokens)
        inputs.append(prompt if is_paired else prompt + answer)
        labels.append(answer if is_paired else [-100] * len(prompt) + answer)
    width, length = max(map(len, inputs)), max(map(len, labels))
    return {
        "input_ids": torch.tensor([row + [0] * (width - len(row)) for row in inputs]),
        "attention_mask": torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in inputs]),
        "labels": torch.tensor([row + [-100] * (length - len(row)) for row in labels]),
    }
