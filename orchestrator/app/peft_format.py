"""A choice in the words of peft and transformers."""

import math
from typing import Any

from orchestrator.contracts import Config, TrainingSettings
from workers.models.base import BaseModel
from workers.tasks.records import Task
from workers.training.adapters import target_module_names
from workers.training.hyperparameters import Hyperparameters

_OPTIMISERS = {"lion": "lion_32bit"}
"""Ours that transformers names otherwise."""


def as_peft(
    config: Config, epochs: int, *, base: BaseModel, task: Task, settings: TrainingSettings
) -> dict[str, Any]:
    """Return the arguments of ``peft.LoraConfig`` and ``transformers.TrainingArguments`` that a choice means.

    Args:
        config: The choice.
        epochs: Its fidelity, in epochs of the sweep that was learned from.
        base: The base model, whose layers the target modules are named after.
        task: The task; with the settings it decides how many steps an epoch has.
        settings: Of that sweep.

    Returns:
        ``base_model``, ``lora_config``, ``training_arguments`` and, where it is not 1, ``loraplus_lr_ratio``
        for ``peft.optimizers.create_loraplus_optimizer``. The learning-rate schedule is one over
        ``schedule_steps``; training ends at ``max_steps``.
    """
    hyper = Hyperparameters.from_config(config)
    examples = settings.examples_per_epoch or len(task.train)
    steps_per_epoch = math.ceil(examples / hyper.batch_size)
    horizon_steps = steps_per_epoch * settings.horizon_epochs
    warmup = hyper.warmup_steps if hyper.warmup_steps >= 1 else round(hyper.warmup_steps * horizon_steps)
    content: dict[str, Any] = {
        "base_model": base.name,
        "lora_config": {
            "task_type": "CAUSAL_LM",
            "r": hyper.lora_r,
            "lora_alpha": hyper.lora_alpha,
            "lora_dropout": hyper.lora_dropout,
            "target_modules": target_module_names(base.model, hyper.target_modules),
            "use_rslora": hyper.use_rslora,
        },
        "training_arguments": {
            "learning_rate": hyper.learning_rate,
            "per_device_train_batch_size": hyper.batch_size,
            "max_steps": steps_per_epoch * epochs,
            "lr_scheduler_type": hyper.lr_scheduler_type,
            "warmup_steps": int(warmup),
            "weight_decay": hyper.weight_decay,
            "optim": _OPTIMISERS.get(hyper.optim, hyper.optim),
            "max_grad_norm": settings.max_grad_norm,
            "bf16": settings.compute_dtype == "bfloat16",
        },
        "schedule_steps": horizon_steps,
    }
    if hyper.quant == "nf4":
        content["quantization_config"] = {
            "load_in_4bit": True,
            "bnb_4bit_quant_type": "nf4",
            "bnb_4bit_use_double_quant": True,
            "bnb_4bit_compute_dtype": settings.compute_dtype,
        }
    if hyper.loraplus_lr_ratio != 1:
        content["loraplus_lr_ratio"] = hyper.loraplus_lr_ratio
    if hyper.prompt_loss_weight != 0:
        content["prompt_loss_weight"] = hyper.prompt_loss_weight
    return content
