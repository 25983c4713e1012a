"""A config of the search space, read into what the trainer is given. Imports no torch."""

import importlib.util
from dataclasses import dataclass, fields
from typing import Any

from orchestrator.contracts import Config, InvalidConfigError
from workers.spaces.names import NAMES

LEARNING_RATE_OF: dict[str, str] = {
    "lora": "learning_rate",
    "miss": "oft_learning_rate",
    "oft": "oft_learning_rate",
    "ia3": "vector_learning_rate",
    "vera": "vector_learning_rate",
    "prefix": "vector_learning_rate",
    "prompt": "vector_learning_rate",
    "full": "full_learning_rate",
}
"""Methods need learning rates orders of magnitude apart, so each kind has a range, and a name, of its own."""

_NEEDS_BITSANDBYTES = {
    "quant": ("int8", "nf4"),
    "optim": ("adamw_8bit", "paged_adamw_32bit", "paged_adamw_8bit", "lion_8bit", "paged_lion_8bit"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters:
    """How one trial finetunes. The defaults hold for names that its config leaves out."""

    peft_method: str = "lora"
    learning_rate: float = 2e-4
    """Highest learning rate of LoRA, of the A matrices."""
    oft_learning_rate: float = 1e-4
    """Highest learning rate of OFT and MiSS."""
    vector_learning_rate: float = 5e-3
    """Highest learning rate of IA3, VeRA, prefixes and prompts."""
    full_learning_rate: float = 1e-5
    """Highest learning rate of full finetuning."""
    lora_r: int = 16
    alpha_over_r: float = 2.0
    """PEFT's ``lora_alpha`` over the rank."""
    lora_dropout: float = 0.05
    """Probability with which an adapter's input is set to zero in training."""
    use_rslora: bool = False
    """Scale by alpha / sqrt(r) instead of alpha / r."""
    use_dora: bool = False
    init_lora_weights: str = "default"
    """PEFT's word for LoRA's initialisation; ``default`` is its ``True``."""
    loraplus_lr_ratio: float = 1.0
    """Learning rate of the B matrices over that of the A matrices."""
    miss_r: int = 32
    oft_block_size: int = 32
    vera_r: int = 256
    num_virtual_tokens: int = 16
    target_modules: str = "all-linear"
    """Which linear layers get an adapter, by role."""
    quant: str = "none"
    optim: str = "adamw_torch_fused"
    adam_beta2: float = 0.999
    lr_scheduler_type: str = "cosine"
    warmup_steps: float = 0.03
    """A share of all steps up to the horizon."""
    weight_decay: float = 0.0
    max_grad_norm: float | None = None
    """Gradient norm above which the gradient is scaled down; None: the sweep's own."""
    batch_size: int = 16
    """Examples of an optimizer step."""
    packing: bool = False
    """Whether the examples of a micro-batch share one row, without padding and without seeing each other."""
    neftune_noise_alpha: float = 0.0
    label_smoothing_factor: float = 0.0
    prompt_loss_weight: float = 0.0
    """Weight of a prompt token's loss, an answer token's being 1."""
    hard_candidates: int = 1
    """Wordings of each fact of a batch that are tried; the one with the highest loss is trained on."""

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
        known = [field.name for field in fields(cls)]
        for name, value in config.items():
            if name not in known:
                problems.append(f"{name} is no hyperparameter of this trainer; known are {', '.join(known)}")
                continue
            try:
                values[name] = NAMES[name].read(value)
            except ValueError as error:
                problems.append(f"{name} {error}")
            else:
                problems += _lacking_package(name, value)
        if problems:
            raise InvalidConfigError("; ".join(problems))
        return cls(**values)

    @property
    def lora_alpha(self) -> float:
        """PEFT's ``lora_alpha``."""
        return self.alpha_over_r * self.lora_r

    @property
    def peak_learning_rate(self) -> float:
        """The learning rate of this config's method."""
        rate: float = getattr(self, LEARNING_RATE_OF[self.peft_method])
        return rate


def _lacking_package(name: str, value: object) -> list[str]:
    needs = value in _NEEDS_BITSANDBYTES.get(name, ())
    if needs and importlib.util.find_spec("bitsandbytes") is None:
        return [f"{name} = {value} needs bitsandbytes; pip install bitsandbytes"]
    return []
