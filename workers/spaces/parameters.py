"""Parameters: what values a name of a search space may take, and when it matters at all."""

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from orchestrator.contracts import Scalar

_SIGNIFICANT_DIGITS = 6
"""Of drawn numbers: short enough to be read, and the same after a round trip through JSON."""


@dataclass(frozen=True, slots=True)
class Choices:
    """A list of values, numbers and switches in rising order; of one value the parameter is fixed."""

    values: tuple[Scalar, ...]

    @property
    def size(self) -> float:
        """How many values there are."""
        return len(self.values)

    def holds(self, value: Scalar) -> bool:
        """Whether the value, of the right type, is one of these."""
        return value in self.values

    def at(self, share: float) -> Scalar:
        """Return the value this share, in [0, 1), of the way through the list."""
        return self.values[int(share * len(self.values))]

    def nearest(self, value: Scalar) -> Scalar:
        """Return the value itself where it is one of these, else the closest number, else the first."""
        if value in self.values or isinstance(value, bool | str | None):
            return value if value in self.values else self.values[0]
        return min(self.values, key=lambda choice: abs(float(choice) - value))  # type: ignore[arg-type]

    def __str__(self) -> str:
        return ", ".join(map(shown, self.values))


@dataclass(frozen=True, slots=True)
class Range:
    """All numbers between two, both included."""

    low: float
    high: float
    is_log: bool = False
    is_integer: bool = False

    @property
    def size(self) -> float:
        """How many integers there are; infinite for other numbers."""
        return self.high - self.low + 1 if self.is_integer else math.inf

    def holds(self, value: Scalar) -> bool:
        """Whether the value, of the right type, lies between the two."""
        return isinstance(value, int | float) and self.low <= value <= self.high

    def at(self, share: float) -> Scalar:
        """Return the number this share, in [0, 1), of the way up; every integer has a share of its own."""
        margin = 0.5 if self.is_integer else 0.0
        low, high = self.low - margin, self.high + margin
        value = low * (high / low) ** share if self.is_log else low + (high - low) * share
        return self.nearest(round(value) if self.is_integer else significant(value))

    def nearest(self, value: Scalar) -> Scalar:
        """Return the number of the range that is closest to this one."""
        if isinstance(value, bool | str | None):
            return self.low
        return min(max(value, self.low), self.high)

    def __str__(self) -> str:
        return f"[{shown(self.low)}, {shown(self.high)}]"


@dataclass(frozen=True, slots=True)
class Condition:
    """A parameter matters only while another one has one of these values."""

    parent: str
    values: tuple[Scalar, ...]

    def __str__(self) -> str:
        return f"{self.parent} is {' or '.join(map(shown, self.values))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One name of a search space."""

    name: str
    domain: Choices | Range
    default: Scalar
    condition: Condition | None = None

    @property
    def fixed(self) -> Scalar:
        """The only value, or None where there are several."""
        is_single = isinstance(self.domain, Choices) and len(self.domain.values) == 1
        return self.domain.at(0.0) if is_single else None

    def is_active(self, config: Mapping[str, Scalar]) -> bool:
        """Whether this name matters beside the others of a config."""
        return self.condition is None or config.get(self.condition.parent) in self.condition.values

    def draw(self, seed: int, number: int, again: int = 0) -> Scalar:
        """Return the value of this name in a draw.

        Args:
            seed: Of all draws.
            number: Of the draw.
            again: How often this draw was made before, as what came out can't be beside other values.

        Returns:
            A function of the three and the name.
        """
        parts = (seed, number, self.name, again) if again else (seed, number, self.name)
        bits = int.from_bytes(hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()[:8], "big") >> 11
        return self.domain.at(math.ldexp(bits, -53))

    def declared(self) -> list[object]:
        """Return all that is declared, as JSON-like values: what a space's version is made of."""
        domain: list[object] = (
            ["choices", list(self.domain.values)] if isinstance(self.domain, Choices) else []
        )
        if isinstance(self.domain, Range):
            domain = ["range", self.domain.low, self.domain.high, self.domain.is_log, self.domain.is_integer]
        condition = [self.condition.parent, list(self.condition.values)] if self.condition else None
        return [self.name, domain, self.default, condition]


def active_values(parameters: Iterable[Parameter], values: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Return the values of the names that matter beside one another; parents come before children."""
    config: dict[str, Scalar] = {}
    for parameter in parameters:
        if parameter.is_active(config):
            config[parameter.name] = values[parameter.name]
    return config


def significant(value: float) -> float:
    """Return a number rounded to the digits that drawn numbers have."""
    return float(f"{value:.{_SIGNIFICANT_DIGITS}g}")


def shown(value: Scalar) -> str:
    """Return a value as JSON and YAML write it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.12g}" if isinstance(value, float) else str(value)
