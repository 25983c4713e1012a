"""A choice in the words of peft and transformers."""

import math
from collections.abc import Mapping
from typing import Any

from orchestrator.contracts import Config, TrainingSettings
from workers.methods.configs import peft_config
from workers.models.facts import ModelFacts
from workers.models.location import ModelLocation
from workers.tasks.records import Task
from workers.training.hyperparameters import Hyperparameters

_OPTIMISERS = {"lion": "lion_32bit"}
"""Ours that transformers names otherwise."""
_QUANTISATION: Mapping[str, Mapping[str, Any]] = {
    "int8": {"load_in_8bit": True},
    "nf4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True},
}
_LEFT_OUT = ("peft_type", "projection_prng_key")
"""What the class says by itself, and what is another number in every trial."""
_BESIDE = ("loraplus_lr_ratio", "prompt_loss_weight", "packing", "hard_candidates")
"""Names that neither class has an argument for, given under their own where they are not the default."""


def as_peft(
    config: Config, epochs: int, *, base: ModelLocation, task: Task, settings: TrainingSettings
) -> dict[str, Any]:
    """Return the arguments of a config of peft's and of ``transformers.TrainingArguments`` for a choice.

    Args:
        config: The choice.
        epochs: Its fidelity, in epochs of the sweep that was learned from.
        base: The base model's files; the target modules are named after its layers.
        task: The task; with the settings it decides how many steps an epoch has.
        settings: Of that sweep.

    Returns:
        ``base_model``, ``peft_config`` (class and arguments; none for full finetuning),
        ``training_arguments``, ``quantization_config`` where the base is quantised, and by their own names
        what neither class can say (``loraplus_lr_ratio`` is for ``peft.optimizers``). The learning-rate
        schedule is one over ``schedule_steps``; training ends at ``max_steps``. Examples are cut to
        ``max_length_tokens``.
    """
    hyper = Hyperparameters.from_config(config)
    examples = settings.examples_per_epoch or len(task.train)
    steps_per_epoch = math.ceil(examples / hyper.batch_size)
    horizon_steps = steps_per_epoch * settings.horizon_epochs
    content: dict[str, Any] = {
        "base_model": base.name,
        "peft_config": _adapter(hyper, base),
        "training_arguments": {
            "learning_rate": hyper.peak_learning_rate,
            "per_device_train_batch_size": hyper.batch_size,
            "max_steps": steps_per_epoch * epochs,
            "lr_scheduler_type": hyper.lr_scheduler_type,
            "warmup_steps": math.ceil(hyper.warmup_steps * horizon_steps),
            "weight_decay": hyper.weight_decay,
            "optim": _OPTIMISERS.get(hyper.optim, hyper.optim),
            "adam_beta2": hyper.adam_beta2,
            "max_grad_norm": settings.max_grad_norm if hyper.max_grad_norm is None else hyper.max_grad_norm,
            "neftune_noise_alpha": hyper.neftune_noise_alpha or None,
            "label_smoothing_factor": hyper.label_smoothing_factor,
            "bf16": settings.compute_dtype == "bfloat16",
        },
        "schedule_steps": horizon_steps,
        "max_length_tokens": settings.max_length_tokens,
    }
    if hyper.quant in _QUANTISATION:
        compute = {"bnb_4bit_compute_dtype": settings.compute_dtype} if hyper.quant == "nf4" else {}
        content["quantization_config"] = {**_QUANTISATION[hyper.quant], **compute}
    usual = Hyperparameters()
    content |= {
        name: getattr(hyper, name) for name in _BESIDE if getattr(hyper, name) != getattr(usual, name)
    }
    return content


def _adapter(hyper: Hyperparameters, base: ModelLocation) -> dict[str, Any] | None:
    """Return the name of peft's class and the arguments that are not its defaults."""
    if hyper.peft_method == "full":
        return None
    made = peft_config(hyper, ModelFacts.of(base), trial_id="")
    usual = type(made)().to_dict()
    told = {
        name: sorted(value) if isinstance(value, set) else value
        for name, value in made.to_dict().items()
        if name not in _LEFT_OUT and value != usual.get(name)
    }
    if hyper.peft_method == "lora" and hyper.init_lora_weights != "default":
        told["init_lora_weights"] = hyper.init_lora_weights
    return {"class": type(made).__name__, "arguments": told}
