"""What can't be together in a config, on any model: the one table of it, each entry with its reason.

What depends on the model (its family, the shapes of its layers, its device) is not here.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.contracts import Scalar
from workers.spaces.names import NAMES
from workers.spaces.parameters import shown

_SHOWN_VALUES = 8
"""Of a longer list only the beginning is shown."""


@dataclass(frozen=True, slots=True)
class Combination:
    """Values of several names of which no config may hold one of each."""

    values: Mapping[str, tuple[Scalar, ...]]
    reason: str

    def holds(self, config: Mapping[str, Scalar]) -> bool:
        """Whether every name of this combination is in a config with one of these values."""
        return all(config.get(name) in values for name, values in self.values.items())

    def declared(self) -> list[object]:
        """Return all that is declared but the reason, as JSON-like values."""
        return [[name, list(values)] for name, values in self.values.items()]

    def __str__(self) -> str:
        return " with ".join(f"{name} = {_listed(values)}" for name, values in self.values.items())


FORBIDDEN: tuple[Combination, ...] = (
    Combination(
        {"peft_method": ("full",), "quant": ("int8", "nf4")},
        "full finetuning trains the base's weights, and quantised weights take no gradient",
    ),
    Combination(
        {"init_lora_weights": ("pissa_niter_16", "olora", "corda"), "quant": ("int8", "nf4")},
        "the initialisation moves a part of the base's weights into the adapter, and what is left of a "
        "quantised base would have to be quantised anew",
    ),
    Combination(
        {"init_lora_weights": ("orthogonal",), "quant": ("int8", "nf4")},
        "PEFT makes orthogonal matrices in the data type of the base's weights, whole numbers when quantised",
    ),
    Combination(
        {"init_lora_weights": ("loftq",), "quant": ("none", "int8")},
        "LoftQ begins with what nf4 took from the base's weights",
    ),
    Combination(
        {"use_dora": (True,), "init_lora_weights": ("pissa_niter_16", "olora", "corda", "loftq")},
        "DoRA learns the norms of the base's own weights, and the initialisation moves a part of them into "
        "the adapter",
    ),
    Combination(
        {"lora_r": tuple(range(1, int(NAMES["lora_r"].high) + 1, 2)), "init_lora_weights": ("orthogonal",)},
        "orthogonal matrices are made in two halves, so the rank must be even",
    ),
    Combination(
        {"peft_method": ("prefix", "prompt"), "packing": (True,)},
        "virtual tokens stand before every example, and a packed row has one beginning for several",
    ),
)


def refusals(values: Mapping[str, Scalar]) -> list[str]:
    """Say what in a config can't be together.

    Args:
        values: Names to values; a name left out is in no combination.

    Returns:
        One sentence a combination, with the values and the reason; none: the config is free of them.
    """
    return [
        f"{' with '.join(f'{name} = {shown(values[name])}' for name in combination.values)} can't be: "
        f"{combination.reason}"
        for combination in FORBIDDEN
        if combination.holds(values)
    ]


def _listed(values: tuple[Scalar, ...]) -> str:
    head = " or ".join(map(shown, values[:_SHOWN_VALUES]))
    return head if len(values) <= _SHOWN_VALUES else f"{head} or ..."
