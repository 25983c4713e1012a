"""Declared spaces by name.

``tiny`` is for the embedded base model of 1.25 M parameters, whose good learning rates lie some ten times
above those of a real model; its default is what a careful person would try first there, not its optimum.
``phi3`` is for Phi-3-mini, with the defaults of the field.
"""

from collections.abc import Mapping
from types import MappingProxyType

from orchestrator.contracts import InputError, Scalar
from workers.spaces.parameters import Choices, Condition, Parameter, Range

_WITH_WARMUP = Condition("lr_scheduler_type", ("linear", "cosine", "warmup_stable_decay"))
"""``constant_with_warmup`` warms up over a fixed share, which the trainer sets."""


def _preset(
    *,
    learning_rate: Parameter,
    ranks: tuple[int, ...],
    quant: tuple[str, ...],
    optim: tuple[str, ...],
) -> tuple[Parameter, ...]:
    """Declare a space of LoRA finetuning: what differs between presets, and what does not."""

    def choose(name: str, *values: Scalar, default: Scalar, condition: Condition | None = None) -> Parameter:
        return Parameter(name=name, domain=Choices(values), default=default, condition=condition)

    return (
        choose("peft_method", "lora", default="lora"),
        learning_rate,
        choose("lora_r", *ranks, default=16),
        choose("alpha_over_r", 0.5, 1.0, 2.0, 4.0, default=2.0),
        choose("lora_dropout", 0.0, 0.05, 0.1, default=0.05),
        choose("target_modules", "qv", "attn", "mlp", "all-linear", default="all-linear"),
        choose("use_rslora", False, True, default=False),
        choose("loraplus_lr_ratio", 1.0, 4.0, 8.0, 16.0, default=1.0),
        choose("quant", *quant, default="none"),
        choose("optim", *optim, default="adamw_torch_fused"),
        choose(
            "lr_scheduler_type",
            *("constant_with_warmup", "linear", "cosine", "warmup_stable_decay"),
            default="cosine",
        ),
        choose("warmup_steps", 0.0, 0.03, 0.06, 0.1, default=0.03, condition=_WITH_WARMUP),
        choose("weight_decay", 0.0, 0.01, 0.1, default=0.0),
        choose("batch_size", 4, 8, 16, 32, 64, default=16),
        choose("prompt_loss_weight", 0.0, 0.01, 0.1, 1.0, default=0.0),
    )


PRESETS: Mapping[str, tuple[Parameter, ...]] = MappingProxyType(
    {
        "tiny": _preset(
            learning_rate=Parameter(
                name="learning_rate", domain=Range(1e-4, 5e-2, is_log=True), default=1e-3
            ),
            ranks=(4, 8, 16, 32, 64),
            quant=("none",),
            optim=("adamw_torch_fused", "lion", "adafactor"),
        ),
        "phi3": _preset(
            learning_rate=Parameter(
                name="learning_rate", domain=Range(2e-5, 2e-3, is_log=True), default=2e-4
            ),
            ranks=(4, 8, 16, 32, 64, 128),
            quant=("none", "nf4"),
            optim=("adamw_torch_fused", "adamw_8bit"),
        ),
    }
)


def parameters_of(preset: str) -> tuple[Parameter, ...]:
    """Return a preset's parameters.

    Args:
        preset: Its name.

    Returns:
        The parameters, in the order of the names table.

    Raises:
        InputError: There is no such preset.
    """
    if preset not in PRESETS:
        raise InputError(f"no search space {preset!r}; there are {', '.join(PRESETS)}")
    return PRESETS[preset]
