"""A config of the search space, read into what the trainer is given. Imports no torch."""

import importlib.util
import math
from dataclasses import dataclass, fields
from typing import Any

from orchestrator.contracts import Config, InvalidConfigError

CHOICES: dict[str, tuple[str, ...]] = {
    "peft_method": ("lora",),
    "target_modules": ("qv", "attn", "mlp", "all-linear"),
    "quant": ("none", "nf4"),
    "optim": ("adamw_torch_fused", "adamw_8bit", "lion", "adafactor", "sgd"),
    "lr_scheduler_type": ("constant_with_warmup", "linear", "cosine", "warmup_stable_decay"),
}
"""Values of the names that are words."""

_NEEDS_BITSANDBYTES = {"quant": "nf4", "optim": "adamw_8bit"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters:
    """How one trial finetunes. The defaults hold for names that its config leaves out."""

    peft_method: str = "lora"
    learning_rate: float = 2e-4
    """Highest learning rate, of the adapters' A matrices."""
    lora_r: int = 16
    alpha_over_r: float = 2.0
    """PEFT's ``lora_alpha`` over the rank."""
    lora_dropout: float = 0.05
    """Probability with which an adapter's input is set to zero in training."""
    target_modules: str = "all-linear"
    """Which linear layers get an adapter, by role."""
    use_rslora: bool = False
    """Scale by alpha / sqrt(r) instead of alpha / r."""
    loraplus_lr_ratio: float = 1.0
    """Learning rate of the B matrices over that of the A matrices."""
    quant: str = "none"
    optim: str = "adamw_torch_fused"
    lr_scheduler_type: str = "cosine"
    warmup_steps: float = 0.03
    """Below 1 a share of all steps, from 1 on a number of steps."""
    weight_decay: float = 0.0
    batch_size: int = 16
    """Examples of an optimizer step."""
    prompt_loss_weight: float = 0.0
    """Weight of a prompt token's loss, an answer token's being 1."""

    @classmethod
    def from_config(cls, config: Config) -> "Hyperparameters":
        """Read a config; all its faults are shown together.

        Args:
            config: Names to values; names left out take the default.

        Returns:
            The hyperparameters.

        Raises:
            InvalidConfigError: A name is unknown, a value is of the wrong kind or out of range, or a package
                that the config needs is not installed.
        """
        problems = []
        values: dict[str, Any] = {}
        known = {field.name: field for field in fields(cls)}
        for name, value in config.items():
            if name not in known:
                problems.append(f"{name} is no hyperparameter of this trainer; known are {', '.join(known)}")
                continue
            try:
                values[name] = _checked(name, known[name].type, value)
            except ValueError as error:
                problems.append(str(error))
        if problems:
            raise InvalidConfigError("; ".join(problems))
        return cls(**values)

    @property
    def lora_alpha(self) -> float:
        """PEFT's ``lora_alpha``."""
        return self.alpha_over_r * self.lora_r


_RANGES: dict[str, tuple[float, float]] = {
    "learning_rate": (1e-12, 1e3),
    "lora_r": (1, 4096),
    "alpha_over_r": (1e-6, 1e6),
    "lora_dropout": (0.0, 0.999),
    "loraplus_lr_ratio": (1e-6, 1e6),
    "warmup_steps": (0.0, 1e9),
    "weight_decay": (0.0, 1e3),
    "batch_size": (1, 1_000_000),
    "prompt_loss_weight": (0.0, 1e3),
}


def _checked(name: str, kind: object, value: object) -> object:
    """Return the value as its field's type, or raise ValueError with name and value."""
    if name in CHOICES:
        if value not in CHOICES[name]:
            raise ValueError(f"{name} must be one of {', '.join(CHOICES[name])}, got {value!r}")
        if _NEEDS_BITSANDBYTES.get(name) == value and importlib.util.find_spec("bitsandbytes") is None:
            raise ValueError(f"{name} = {value} needs bitsandbytes; pip install bitsandbytes")
        return value
    if kind is bool:
        if not isinstance(value, bool):
            raise ValueError(f"{name} must be true or false, got {value!r}")
        return value
    low, high = _RANGES[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} must be a number in [{low:g}, {high:g}], got {value!r}")
    if not low <= value <= high:
        raise ValueError(f"{name} must be in [{low:g}, {high:g}], got {value!r}")
    if kind is int:
        if value != int(value):
            raise ValueError(f"{name} must be a whole number, got {value!r}")
        return int(value)
    return float(value)
