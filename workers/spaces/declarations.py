"""What is searched over at all: every known name with its values, default and condition, for a kind of model.

The core tier is always searched. The extended tier adds names and values that a meta-dataset has to cover
before it pays to search them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from orchestrator.contracts import Scalar
from workers.spaces.combinations import partners
from workers.spaces.names import NAMES
from workers.spaces.parameters import Choices, Condition, Parameter, Range
from workers.training.hyperparameters import LEARNING_RATE_OF


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """What depends on the size of the base model."""

    learning_rate: tuple[float, float, float]
    """Lowest, highest, default; so for the other methods'."""
    oft_learning_rate: tuple[float, float, float]
    vector_learning_rate: tuple[float, float, float]
    full_learning_rate: tuple[float, float, float]
    lora_r: tuple[int, ...]
    miss_r: tuple[int, ...]
    oft_block_size: tuple[int, ...]
    vera_r: tuple[int, ...]
    num_virtual_tokens: tuple[int, ...]
    core_quant: tuple[str, ...]
    core_optim: tuple[str, ...]
    extended_optim: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """One name with both tiers' values."""

    core: Choices | Range | None
    """None: the core tier leaves the name out."""
    parameter: Parameter
    """As the extended tier has it, its condition as if all its parent's values were allowed."""

    def in_tier(self, *, extended: bool) -> Parameter:
        """Return the parameter with a tier's values; one that the tier leaves out keeps the extended's."""
        return self.parameter if extended or self.core is None else replace(self.parameter, domain=self.core)


def declarations(scale: Scale) -> tuple[Declaration, ...]:
    """Declare every known name.

    Args:
        scale: What depends on the size of the base model.

    Returns:
        One declaration a name, in the order of the names table.
    """
    return (
        _choice("peft_method", ("lora",), "lora", extended=NAMES["peft_method"].words),
        *(_rate(name, *getattr(scale, name)) for name in dict.fromkeys(LEARNING_RATE_OF.values())),
        _choice("lora_r", scale.lora_r, 16, _methods("lora")),
        _choice("alpha_over_r", (0.5, 1.0, 2.0, 4.0), 2.0, _methods("lora")),
        _choice("lora_dropout", (0.0, 0.05, 0.1), 0.05, _methods("lora")),
        _choice(
            "target_modules",
            ("qv", "attn", "mlp", "all-linear"),
            "all-linear",
            _methods("lora", "miss", "oft"),
        ),
        _choice("use_rslora", (False, True), False, _methods("lora")),
        _choice("use_dora", None, False, _methods("lora"), extended=(False, True)),
        _choice(
            "init_lora_weights",
            None,
            "default",
            _methods("lora"),
            extended=NAMES["init_lora_weights"].words,
        ),
        _choice("loraplus_lr_ratio", (1.0, 4.0, 8.0, 16.0), 1.0, _methods("lora")),
        _choice("miss_r", scale.miss_r, 32, _methods("miss")),
        _choice("oft_block_size", scale.oft_block_size, 32, _methods("oft")),
        _choice("vera_r", scale.vera_r, 256, _methods("vera")),
        _choice("num_virtual_tokens", scale.num_virtual_tokens, 16, _methods("prefix", "prompt")),
        _choice(
            "quant",
            scale.core_quant,
            "none",
            _methods(*partners("quant", "peft_method")),
            extended=NAMES["quant"].words,
        ),
        _choice("optim", scale.core_optim, "adamw_torch_fused", extended=scale.extended_optim),
        _choice(
            "adam_beta2",
            None,
            0.999,
            Condition("optim", tuple(word for word in NAMES["optim"].words if "adamw" in word)),
            extended=(0.95, 0.99, 0.999),
        ),
        _choice(
            "lr_scheduler_type",
            ("constant_with_warmup", "linear", "cosine", "warmup_stable_decay"),
            "cosine",
        ),
        # constant_with_warmup warms up over a fixed share, which the trainer sets.
        _choice(
            "warmup_steps",
            (0.0, 0.03, 0.06, 0.1),
            0.03,
            Condition("lr_scheduler_type", ("linear", "cosine", "warmup_stable_decay")),
        ),
        _choice("weight_decay", (0.0, 0.01, 0.1), 0.0),
        _choice("max_grad_norm", None, 1.0, extended=(0.3, 1.0)),
        _choice("batch_size", (4, 8, 16, 32, 64), 16),
        _choice(
            "packing", None, False, _methods(*partners("packing", "peft_method")), extended=(False, True)
        ),
        _choice("neftune_noise_alpha", None, 0.0, extended=(0.0, 5.0, 10.0, 15.0)),
        _choice("label_smoothing_factor", None, 0.0, extended=(0.0, 0.05, 0.1)),
        _choice("prompt_loss_weight", (0.0, 0.01, 0.1, 1.0), 0.0),
        _choice("hard_candidates", None, 1, extended=(1, 2, 4)),
    )


def _choice(
    name: str,
    core: Sequence[Scalar] | None,
    default: Scalar,
    condition: Condition | None = None,
    *,
    extended: Sequence[Scalar] | None = None,
) -> Declaration:
    """Declare a list of values; ``extended`` is left out where both tiers have the same."""
    domain = Choices(tuple(extended or core or ()))
    return Declaration(
        core=None if core is None else Choices(tuple(core)),
        parameter=Parameter(name=name, domain=domain, default=default, condition=condition),
    )


def _rate(name: str, low: float, high: float, default: float) -> Declaration:
    """Declare a learning rate, on a logarithmic scale, of the methods that go by it."""
    domain = Range(low, high, is_log=True)
    methods = _methods(*(method for method, rate in LEARNING_RATE_OF.items() if rate == name))
    return Declaration(
        core=domain, parameter=Parameter(name=name, domain=domain, default=default, condition=methods)
    )


def _methods(*methods: str) -> Condition:
    return Condition("peft_method", methods)
