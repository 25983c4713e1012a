"""A choice as a YAML file of trainers that many use: Axolotl's, and LLaMA-Factory's.

Both are told from what ``peft_format.as_peft`` says, so that there is one reading of a config. What a trainer
has no word for stands in comments at the top of the file, never nowhere; a method that it does not train is
refused. Key names: Axolotl's config reference and LLaMA-Factory's argument classes, as of 2026-11.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from orchestrator.contracts import InputError

_LORA = "LoraConfig"
_SELF_EVIDENT = ("task_type", "inference_mode")
"""Arguments of peft's class that follow from what is trained."""


@dataclass(slots=True)
class _File:
    """What goes into a file."""

    trainer: str
    content: dict[str, Any]
    unsaid: list[str] = field(default_factory=list)
    """What it can't hold, each with the reason."""

    def render(self) -> str:
        """Return the file's text."""
        head = [f"For {self.trainer}. Data, chat template and output folder are yours to add."]
        head += [f"Not in this file: {reason}" for reason in self.unsaid]
        comments = "".join(f"# {line}\n" for line in head)
        given = {name: value for name, value in self.content.items() if value is not None}
        return comments + yaml.safe_dump(given, sort_keys=False)


def as_axolotl(told: Mapping[str, Any]) -> str:
    """Return a choice as a config file of Axolotl.

    Args:
        told: What ``as_peft`` returned.

    Returns:
        YAML, with comments.

    Raises:
        InputError: Axolotl does not train that method, or that kind of model.
    """
    file = _File("Axolotl", {"base_model": told["base_model"]})
    adapter, arguments = _adapter(told, file.trainer), told["training_arguments"]
    quantised = told.get("quantization_config", {})
    if adapter is not None:
        file.content |= {
            "load_in_8bit": quantised.get("load_in_8bit"),
            "load_in_4bit": quantised.get("load_in_4bit"),
            "adapter": "qlora" if "load_in_4bit" in quantised else "lora",
        }
        words = {
            "r": "lora_r",
            "lora_alpha": "lora_alpha",
            "lora_dropout": "lora_dropout",
            "use_dora": "peft_use_dora",
            "use_rslora": "peft_use_rslora",
            "init_lora_weights": "peft_init_lora_weights",
        }
        targets = {"target_modules": _axolotl_targets}
        _translate(file, adapter, words, targets, "argument of LoraConfig")
        file.content["loraplus_lr_ratio"] = told.get("loraplus_lr_ratio")
    words = {
        "learning_rate": "learning_rate",
        "per_device_train_batch_size": "micro_batch_size",
        "max_steps": "max_steps",
        "lr_scheduler_type": "lr_scheduler",
        "warmup_steps": "warmup_steps",
        "weight_decay": "weight_decay",
        "optim": "optimizer",
        "adam_beta2": "adam_beta2",
        "max_grad_norm": "max_grad_norm",
        "neftune_noise_alpha": "neftune_noise_alpha",
        "bf16": "bf16",
    }
    given = {name: value for name, value in arguments.items() if value not in (None, 0.0) or name in words}
    _translate(file, given, words, {}, "training argument")
    file.content |= {
        "gradient_accumulation_steps": 1,
        "sequence_len": told["max_length_tokens"],
        "sample_packing": bool(told.get("packing", False)),
    }
    _tell_beside(file, told, prompts="train_on_inputs")
    return file.render()


def as_llamafactory(told: Mapping[str, Any]) -> str:
    """Return a choice as an argument file of LLaMA-Factory.

    Args:
        told: What ``as_peft`` returned.

    Returns:
        YAML, with comments.

    Raises:
        InputError: LLaMA-Factory does not train that method, or that kind of model.
    """
    file = _File(
        "LLaMA-Factory", {"model_name_or_path": told["base_model"], "stage": "sft", "do_train": True}
    )
    adapter, arguments = _adapter(told, file.trainer), told["training_arguments"]
    quantised = told.get("quantization_config", {})
    file.content["finetuning_type"] = "full" if adapter is None else "lora"
    if adapter is not None:
        file.content["quantization_bit"] = 4 if "load_in_4bit" in quantised else 8 if quantised else None
        words = {
            "r": "lora_rank",
            "lora_alpha": "lora_alpha",
            "lora_dropout": "lora_dropout",
            "use_dora": "use_dora",
            "use_rslora": "use_rslora",
        }
        special = {"target_modules": _llamafactory_targets, "init_lora_weights": _llamafactory_init}
        _translate(file, adapter, words, special, "argument of LoraConfig")
        file.content["loraplus_lr_ratio"] = told.get("loraplus_lr_ratio")
    # Its training arguments are those of transformers, by inheritance.
    file.content |= arguments
    packing = bool(told.get("packing", False))
    file.content |= {
        "gradient_accumulation_steps": 1,
        "cutoff_len": told["max_length_tokens"],
        "packing": packing,
        "neat_packing": packing or None,
    }
    _tell_beside(file, told, prompts="train_on_prompt")
    return file.render()


def _adapter(told: Mapping[str, Any], trainer: str) -> Mapping[str, Any] | None:
    """Return the arguments of LoRA; None for full finetuning."""
    adapter = told["peft_config"]
    if adapter is None:
        return None
    if adapter["class"] != _LORA:
        raise InputError(
            f"the best choice trains a {adapter['class']}, which {trainer} does not; "
            "print it with --format peft, or ask with --set peft_method=lora"
        )
    if adapter["arguments"].get("task_type") == "SEQ_2_SEQ_LM":
        raise InputError(f"{told['base_model']} is an encoder-decoder, which {trainer} does not train")
    from peft import LoraConfig

    usual = LoraConfig()  # what as_peft leaves out as peft's default has other defaults elsewhere
    usual_arguments = {name: getattr(usual, name) for name in ("r", "lora_alpha", "lora_dropout")}
    return {**usual_arguments, **adapter["arguments"]}


def _translate(
    file: _File,
    given: Mapping[str, Any],
    words: Mapping[str, str],
    special: Mapping[str, Callable[[Any], dict[str, Any] | None]],
    kind: str,
) -> None:
    """Put arguments into a file under its own words; say of the others why they are not in it."""
    for name, value in given.items():
        said = {words[name]: value} if name in words else special.get(name, lambda _: None)(value)
        if said is not None:
            file.content |= said
        elif name not in _SELF_EVIDENT:
            file.unsaid.append(f"{name} = {value} ({file.trainer} has no key for this {kind})")


def _tell_beside(file: _File, told: Mapping[str, Any], *, prompts: str) -> None:
    """Tell what no class of peft or transformers has an argument for."""
    weight = told.get("prompt_loss_weight", 0.0)
    file.content[prompts] = weight == 1.0
    if weight not in (0.0, 1.0):
        file.unsaid.append(
            f"prompt_loss_weight = {weight} "
            f"({file.trainer} knows {prompts}: true or false, a weight of 1 or 0)"
        )
    if "hard_candidates" in told:
        file.unsaid.append(f"hard_candidates = {told['hard_candidates']} ({file.trainer} has nothing alike)")
    steps, last = told["schedule_steps"], told["training_arguments"]["max_steps"]
    if last < steps:
        file.unsaid.append(
            f"the learning-rate schedule was one over {steps} steps and left after {last}; "
            f"{file.trainer} ends it at max_steps"
        )


def _axolotl_targets(value: Any) -> dict[str, Any]:
    return {"lora_target_linear": True} if value == "all-linear" else {"lora_target_modules": value}


def _llamafactory_targets(value: Any) -> dict[str, Any] | None:
    if value == "all-linear":
        return {"lora_target": "all"}
    return None if isinstance(value, str) else {"lora_target": ",".join(value)}


def _llamafactory_init(value: Any) -> dict[str, Any] | None:
    """PiSSA is the one it knows, by fast SVD with so many iterations, or -1: by the exact one."""
    if not isinstance(value, str) or not value.startswith("pissa"):
        return None
    _, _, iterations = value.partition("_niter_")
    return {"pissa_init": True, "pissa_iter": int(iterations) if iterations else -1}
