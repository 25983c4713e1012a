"""What seconds are proportional to, where meta-features tell it: how much an epoch trains on, and how fast.

A model of costs is learned from tasks that are alike and were timed on one machine. A task five times as long
or a machine half as fast is nothing that it could have learned, and nothing that needs learning.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite, nan, prod

_SAME_MACHINE = 2.5
"""Factor between speeds up to which machines count as equally fast: a speed is measured in a second, with
shorter or longer texts, and with more or less else to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Names of the meta-features that tell it."""

    amounts: tuple[tuple[str, ...], ...]
    """An epoch's amount is the product of these, each the sum of its names."""
    speed: str | None = None
    """Amount a second of the machine that the task was measured on."""

    @property
    def terms(self) -> str:
        """What an epoch's amount is, for people."""
        return " × ".join(
            f"({' + '.join(names)})" if len(names) > 1 and len(self.amounts) > 1 else " + ".join(names)
            for names in self.amounts
        )

    def amount(self, features: Mapping[str, float]) -> float:
        """Return a task's amount; NaN where it is not known, or not above 0."""
        return _above_0(prod(sum(features.get(name, nan) for name in names) for names in self.amounts))

    def speed_of(self, features: Mapping[str, float]) -> float:
        """Return a machine's speed; NaN where it is not known, or not above 0."""
        return _above_0(nan if self.speed is None else features.get(self.speed, nan))


@dataclass(frozen=True, slots=True, kw_only=True)
class Beyond:
    """How far a task lies beyond all past ones."""

    amount: float = nan
    """Its amount over the nearest of theirs: 1 within their range; NaN where it can't be told."""
    speed: float = nan
    """The same of its machine's speed; 1 where it may be that of a machine equally fast."""

    @property
    def seconds(self) -> float:
        """By how much its epochs take longer than the nearest past task's; 1 where nothing is told."""
        return (self.amount if isfinite(self.amount) else 1.0) / (self.speed if isfinite(self.speed) else 1.0)


@dataclass(frozen=True, slots=True)
class Workloads:
    """The range of the past tasks' workloads.

    Build it with ``of``.
    """

    declared: Workload | None
    amounts: tuple[float, float]
    """Least and most; the first is above the second where none is known."""
    speeds: tuple[float, float]

    @classmethod
    def of(cls, declared: Workload | None, told: Sequence[Mapping[str, float]]) -> "Workloads":
        """Take the past tasks' meta-features; nothing is told where no workload is declared."""
        if declared is None:
            return cls(None, (inf, -inf), (inf, -inf))
        return cls(
            declared,
            _range([declared.amount(features) for features in told]),
            _range([declared.speed_of(features) for features in told]),
        )

    def beyond(self, features: Mapping[str, float]) -> Beyond:
        """Return how far a task lies beyond them, by its meta-features."""
        if self.declared is None:
            return Beyond()
        speed = _over(self.declared.speed_of(features), self.speeds)
        return Beyond(
            amount=_over(self.declared.amount(features), self.amounts),
            speed=1.0 if 1 / _SAME_MACHINE <= speed <= _SAME_MACHINE else speed,
        )


def _above_0(told: float) -> float:
    return told if isfinite(told) and told > 0 else nan


def _range(values: Sequence[float]) -> tuple[float, float]:
    known = [value for value in values if isfinite(value)]
    return min(known, default=inf), max(known, default=-inf)


def _over(value: float, ends: tuple[float, float]) -> float:
    low, high = ends
    return value / min(max(value, low), high) if low <= high else nan
