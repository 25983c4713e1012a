"""A choice in the words of peft and transformers: both take it as it is printed."""

import json
from pathlib import Path
from typing import Any

import peft
import pytest
from transformers import TrainingArguments

from orchestrator.app.peft_format import as_peft
from orchestrator.contracts import Config, TrainingSettings
from tests.support.tiny import make_base, make_task
from workers.methods.configs import peft_config
from workers.models.base import BaseModel, load_base
from workers.models.facts import ModelFacts
from workers.spaces.names import NAMES
from workers.training.hyperparameters import Hyperparameters

SETTINGS = TrainingSettings(horizon_epochs=4, max_grad_norm=0.7)
TASK = make_task()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    return load_base(str(make_base(tmp_path_factory.mktemp("base"))))


def shown(base: BaseModel, config: Config) -> dict[str, Any]:
    printed = json.dumps(as_peft(config, 2, base=base.location, task=TASK, settings=SETTINGS))
    content: dict[str, Any] = json.loads(printed)
    return content


@pytest.mark.parametrize("method", [word for word in NAMES["peft_method"].words if word != "full"])
def test_pefts_class_makes_the_adapter_that_a_trial_trains(base: BaseModel, method: str) -> None:
    told = shown(base, {"peft_method": method})["peft_config"]
    made = getattr(peft, told["class"])(**told["arguments"])
    hyper = Hyperparameters(peft_method=method)
    ours = peft_config(hyper, ModelFacts.of(base.location), "trial")
    differing = {name for name, value in ours.to_dict().items() if made.to_dict()[name] != value}
    assert differing <= {"projection_prng_key"}


def test_full_finetuning_has_no_adapter(base: BaseModel) -> None:
    assert shown(base, {"peft_method": "full"})["peft_config"] is None


@pytest.mark.parametrize("optim", NAMES["optim"].words)
def test_transformers_takes_the_arguments(base: BaseModel, tmp_path: Path, optim: str) -> None:
    told = shown(base, {"optim": optim, "neftune_noise_alpha": 5.0, "label_smoothing_factor": 0.1})
    taken = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, **told["training_arguments"])
    assert (taken.neftune_noise_alpha, taken.label_smoothing_factor) == (5.0, 0.1)
    assert taken.max_grad_norm == 0.7


def test_the_methods_own_learning_rate_is_told(base: BaseModel) -> None:
    config: Config = {"peft_method": "ia3", "vector_learning_rate": 0.02, "max_grad_norm": 0.3}
    told = shown(base, config)["training_arguments"]
    assert (told["learning_rate"], told["max_grad_norm"]) == (0.02, 0.3)


def test_what_the_classes_can_not_say_stands_beside_them(base: BaseModel) -> None:
    config: Config = {
        "loraplus_lr_ratio": 4.0,
        "packing": True,
        "quant": "nf4",
        "init_lora_weights": "loftq",
        "batch_size": 4,
    }
    told = shown(base, config)
    assert (told["loraplus_lr_ratio"], told["packing"]) == (4.0, True)
    assert told["quantization_config"]["load_in_4bit"] is True
    assert told["peft_config"]["arguments"]["init_lora_weights"] == "loftq"
    assert "hard_candidates" not in told
    assert told["schedule_steps"] == 2 * told["training_arguments"]["max_steps"]
