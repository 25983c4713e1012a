"""The names a search space may hold: what the trainer understands, with kind, widest limits and meaning."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from orchestrator.contracts import Scalar


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """What values a name can have at all; a space declares which of them it searches."""

    kind: type
    """``float``, ``int``, ``bool`` or ``str``."""
    meaning: str
    low: float = -math.inf
    high: float = math.inf
    words: tuple[str, ...] = ()

    def read(self, value: object) -> Scalar:
        """Return a value as this name's kind writes it, so that 2 and 2.0 are one value.

        Args:
            value: As a person or a file gave it.

        Returns:
            A plain ``float``, ``int``, ``bool`` or ``str``.

        Raises:
            ValueError: It is of another kind, or beyond the limits; the text says what is allowed.
        """
        if self.kind is bool:
            if isinstance(value, bool):
                return value
        elif self.kind is str:
            if isinstance(value, str) and value in self.words:
                return value
        elif (
            isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high
        ):
            if self.kind is float:
                return float(value)
            if value == int(value):
                return int(value)
        raise ValueError(self.refusal(value, self.allowed))

    def refusal(self, value: object, allowed: str) -> str:
        """Say what is allowed and what was given."""
        return f"must be {allowed}, got {value!r}{_hint(value) if self.kind in (int, float) else ''}"

    @property
    def allowed(self) -> str:
        """What may be given, in words."""
        if self.kind is bool:
            return "true or false"
        if self.kind is str:
            return self.words[0] if len(self.words) == 1 else f"one of {', '.join(self.words)}"
        return f"a {'whole ' if self.kind is int else ''}number in [{self.low:g}, {self.high:g}]"


def _hint(value: object) -> str:
    """Say what is wrong with a number that YAML reads as text."""
    try:
        number = float(value) if isinstance(value, str) else math.nan
    except ValueError:
        return ""
    return f", which YAML takes for text; write {number!r}" if math.isfinite(number) else ""


NAMES: Mapping[str, Name] = MappingProxyType(
    {
        "peft_method": Name(
            kind=str,
            words=("lora", "miss", "oft", "ia3", "vera", "prefix", "prompt", "full"),
            meaning="what is trained beside the frozen base, or all of it",
        ),
        "learning_rate": Name(
            kind=float, low=1e-8, high=1.0, meaning="peak learning rate of LoRA, of its A matrices"
        ),
        "oft_learning_rate": Name(
            kind=float, low=1e-8, high=1.0, meaning="peak learning rate of MiSS and OFT"
        ),
        "vector_learning_rate": Name(
            kind=float, low=1e-8, high=10.0, meaning="peak learning rate of IA3, VeRA, prefixes and prompts"
        ),
        "full_learning_rate": Name(
            kind=float, low=1e-8, high=1.0, meaning="peak learning rate of full finetuning"
        ),
        "lora_r": Name(kind=int, low=1, high=1024, meaning="rank of the adapters"),
        "alpha_over_r": Name(kind=float, low=1e-3, high=1e3, meaning="lora_alpha over the rank"),
        "lora_dropout": Name(
            kind=float, low=0.0, high=0.9, meaning="probability of dropping an adapter's input in training"
        ),
        "target_modules": Name(
            kind=str,
            words=("qv", "attn", "mlp", "all-linear"),
            meaning="linear layers that get an adapter, by role",
        ),
        "use_rslora": Name(kind=bool, meaning="scale by alpha / sqrt(r) instead of alpha / r"),
        "use_dora": Name(kind=bool, meaning="learn the norms of the weights' columns apart (DoRA)"),
        "init_lora_weights": Name(
            kind=str,
            words=("default", "pissa_niter_16", "olora", "orthogonal", "eva", "corda", "loftq"),
            meaning="how LoRA's matrices begin",
        ),
        "loraplus_lr_ratio": Name(
            kind=float,
            low=1e-3,
            high=1e3,
            meaning="learning rate of the B matrices over that of the A matrices",
        ),
        "miss_r": Name(kind=int, low=1, high=1024, meaning="rank of MiSS; divides the layers' inputs"),
        "oft_block_size": Name(
            kind=int, low=2, high=4096, meaning="width of OFT's rotated blocks; divides the layers' inputs"
        ),
        "vera_r": Name(kind=int, low=1, high=4096, meaning="rank of VeRA's shared random matrices"),
        "num_virtual_tokens": Name(
            kind=int, low=1, high=1024, meaning="places that a prefix or a prompt puts before the text"
        ),
        "quant": Name(
            kind=str,
            words=("none", "int8", "nf4"),
            meaning="precision of the frozen base's weights; none: the sweep's compute_dtype",
        ),
        "optim": Name(
            kind=str,
            words=(
                *("adamw_torch_fused", "adamw_8bit", "paged_adamw_32bit", "paged_adamw_8bit"),
                *("lion", "lion_8bit", "paged_lion_8bit", "adafactor", "sgd"),
            ),
            meaning="optimizer",
        ),
        "adam_beta2": Name(
            kind=float, low=0.5, high=0.99999, meaning="decay of AdamW's mean of squared gradients"
        ),
        "lr_scheduler_type": Name(
            kind=str,
            words=("constant_with_warmup", "linear", "cosine", "warmup_stable_decay"),
            meaning="course of the learning rate up to the horizon",
        ),
        "warmup_steps": Name(
            kind=float,
            low=0.0,
            high=0.99,
            meaning="share of all steps over which the learning rate rises",
        ),
        "weight_decay": Name(
            kind=float, low=0.0, high=10.0, meaning="decoupled decay of the trained weights"
        ),
        "max_grad_norm": Name(
            kind=float, low=1e-6, high=1e6, meaning="gradient norm above which the gradient is scaled down"
        ),
        "batch_size": Name(kind=int, low=1, high=4096, meaning="examples of one optimizer step"),
        "packing": Name(
            kind=bool, meaning="examples of a micro-batch in one row without padding, none seeing another"
        ),
        "neftune_noise_alpha": Name(
            kind=float, low=0.0, high=1e3, meaning="size of the noise on input embeddings; 0: none"
        ),
        "label_smoothing_factor": Name(
            kind=float, low=0.0, high=0.9, meaning="share of a target's probability spread over all tokens"
        ),
        "prompt_loss_weight": Name(
            kind=float,
            low=0.0,
            high=10.0,
            meaning="weight of a prompt token's loss beside an answer token's 1",
        ),
        "hard_candidates": Name(
            kind=int,
            low=1,
            high=16,
            meaning="wordings of a fact of which the one with the highest loss is trained on",
        ),
    }
)
"""In the order in which they are shown; a name's condition, if it has one, is on a name before it."""
