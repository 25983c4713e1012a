"""What can't be together in a config, on any model: the one table of it, each entry with its reason.

What depends on the model (its family, the shapes of its layers, its device) is not here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.contracts import Scalar
from workers.spaces.names import NAMES
from workers.spaces.parameters import shown

_MOST_SHOWN, _BEGINNING = 8, 3
"""Of a longer list than the first, so many values are shown."""


@dataclass(frozen=True, slots=True)
class Combination:
    """Values of several names of which no config may hold one of each."""

    values: Mapping[str, tuple[Scalar, ...]]
    reason: str

    def holds(self, config: Mapping[str, Scalar]) -> bool:
        """Whether every name of this combination is in a config with one of these values."""
        return all(config.get(name) in values for name, values in self.values.items())

    def includes(self, values: Mapping[str, tuple[Scalar, ...]]) -> bool:
        """Whether these are the same names with some of the same values."""
        return values.keys() == self.values.keys() and all(
            set(some) <= set(self.values[name]) for name, some in values.items()
        )

    def declared(self) -> list[object]:
        """Return all that is declared but the reason, as JSON-like values."""
        return [[name, list(values)] for name, values in sorted(self.values.items())]

    def __str__(self) -> str:
        return " with ".join(f"{name} = {listed(values)}" for name, values in self.values.items())


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


def refusals(values: Mapping[str, Scalar], combinations: Sequence[Combination] = FORBIDDEN) -> list[str]:
    """Say what in a config can't be together.

    Args:
        values: Names to values; a name left out is in no combination.
        combinations: What can't be together.

    Returns:
        One sentence a combination, with the values and the reason; none: the config is free of them.
    """
    return [
        f"{' with '.join(f'{name} = {shown(values[name])}' for name in combination.values)} can't be: "
        f"{combination.reason}"
        for combination in combinations
        if combination.holds(values)
    ]


def partners(name: str, beside: str) -> tuple[str, ...]:
    """Return the words of one name beside which another still has a choice.

    Args:
        name: The name that may have a choice: of words, or of true and false.
        beside: The name whose words are asked for.

    Returns:
        The words of ``beside``, in their order, that leave ``name`` two values or more.
    """

    def choices(word: str) -> int:
        values: tuple[Scalar, ...] = NAMES[name].words or (False, True)
        pairs = [{name: value, beside: word} for value in values]
        return sum(not any(combination.holds(pair) for combination in FORBIDDEN) for pair in pairs)

    return tuple(word for word in NAMES[beside].words if choices(word) > 1)


def listed(values: tuple[Scalar, ...]) -> str:
    """Return values as a sentence names them, the beginning of a long list."""
    if len(values) > _MOST_SHOWN:
        return f"{', '.join(map(shown, values[:_BEGINNING]))}, ..."
    return " or ".join(map(shown, values))
