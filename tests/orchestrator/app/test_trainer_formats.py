"""A choice as a file of other trainers: nothing of it is lost without a word."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from transformers import TrainingArguments

from orchestrator.app.peft_format import as_peft
from orchestrator.app.trainer_formats import as_axolotl, as_llamafactory
from orchestrator.contracts import Config, InputError, TrainingSettings
from tests.support.tiny import make_base, make_task
from workers.models.base import BaseModel, load_base
from workers.space import SearchSpace
from workers.spaces.names import NAMES

SETTINGS = TrainingSettings(horizon_epochs=4, max_grad_norm=0.7, max_length_tokens=96)
TASK = make_task()
Writer = Callable[[dict[str, Any]], str]
BOTH = pytest.mark.parametrize("write", [as_axolotl, as_llamafactory])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    return load_base(str(make_base(tmp_path_factory.mktemp("base"))))


def told(base: BaseModel, config: Config, epochs: int = 4) -> dict[str, Any]:
    return as_peft(config, epochs, base=base.location, task=TASK, settings=SETTINGS)


def written(write: Writer, base: BaseModel, config: Config, epochs: int = 4) -> tuple[dict[str, Any], str]:
    text = write(told(base, config, epochs))
    comments = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    content: dict[str, Any] = yaml.safe_load(text)
    return content, comments


def test_axolotl_is_told_the_adapter_and_the_training(base: BaseModel) -> None:
    config: Config = {"learning_rate": 3e-4, "lora_r": 32, "alpha_over_r": 0.5, "lora_dropout": 0.1}
    content, comments = written(
        as_axolotl, base, {**config, "use_rslora": True, "loraplus_lr_ratio": 8.0, "quant": "nf4"}
    )
    assert (content["adapter"], content["load_in_4bit"]) == ("qlora", True)
    assert (content["lora_r"], content["lora_alpha"], content["lora_dropout"]) == (32, 16, 0.1)
    assert (content["peft_use_rslora"], content["loraplus_lr_ratio"]) == (True, 8.0)
    assert (content["learning_rate"], content["max_grad_norm"], content["sequence_len"]) == (3e-4, 0.7, 96)
    assert content["max_steps"] == told(base, config)["training_arguments"]["max_steps"]
    assert "Not in this file" not in comments


def test_llamafactory_is_told_the_adapter_and_the_training(base: BaseModel, tmp_path: Path) -> None:
    content, comments = written(
        as_llamafactory, base, {"lora_r": 8, "alpha_over_r": 1.0, "lora_dropout": 0.0, "quant": "int8"}
    )
    assert (content["finetuning_type"], content["quantization_bit"]) == ("lora", 8)
    # What are peft's defaults are not theirs: without a word lora_alpha would be twice the rank.
    assert (content["lora_rank"], content["lora_alpha"], content["lora_dropout"]) == (8, 8, 0.0)
    assert "Not in this file" not in comments
    theirs = told(base, {})["training_arguments"]
    taken = TrainingArguments(
        output_dir=str(tmp_path), use_cpu=True, **{k: content[k] for k in theirs if k in content}
    )
    assert taken.learning_rate == content["learning_rate"]


def test_pissa_is_initialised_as_it_was(base: BaseModel) -> None:
    words = [word for word in NAMES["init_lora_weights"].words if str(word).startswith("pissa")]
    assert words
    for word in words:
        content, _ = written(as_llamafactory, base, {"init_lora_weights": word})
        assert content["pissa_init"] is True
        assert written(as_axolotl, base, {"init_lora_weights": word})[0]["peft_init_lora_weights"] == word


@BOTH
def test_full_finetuning_has_no_adapter(write: Writer, base: BaseModel) -> None:
    content, _ = written(write, base, {"peft_method": "full"})
    assert not {"adapter", "lora_r", "lora_rank", "lora_target"} & set(content)


@BOTH
@pytest.mark.parametrize("method", ["ia3", "prefix"])
def test_method_that_the_trainer_lacks_is_refused_with_a_way_out(
    write: Writer, base: BaseModel, method: str
) -> None:
    with pytest.raises(InputError, match="--format peft, or ask with --set peft_method=lora"):
        write(told(base, {"peft_method": method}))


@BOTH
def test_what_the_trainer_has_no_word_for_stands_in_a_comment(write: Writer, base: BaseModel) -> None:
    config: Config = {"prompt_loss_weight": 0.25, "hard_candidates": 3}
    _, comments = written(write, base, config, epochs=2)
    assert "prompt_loss_weight = 0.25" in comments
    assert "hard_candidates = 3" in comments
    assert "ends it at max_steps" in comments
    whole, silent = written(write, base, {"prompt_loss_weight": 1.0})
    assert True in (whole.get("train_on_inputs"), whole.get("train_on_prompt"))
    assert "prompt_loss_weight" not in silent


def other(name: str, value: Any) -> Any:
    """Another value, far enough to show."""
    words = [word for word in NAMES[name].words if word != value]
    if words:
        return words[0]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return 2 * value
    return 0.9 if name == "warmup_steps" else value / 2 or 0.5


@BOTH
def test_no_value_of_a_config_goes_without_a_word(write: Writer, base: BaseModel) -> None:
    for config in SearchSpace.from_spec("tiny", {}).sample(6, seed=3):
        text = write(told(base, config))
        for name in set(config) - {"peft_method"}:
            assert write(told(base, {**config, name: other(name, config[name])})) != text, name
