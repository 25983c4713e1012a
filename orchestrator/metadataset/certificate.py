"""What a check of a meta-dataset says: claims, how much was examined, what offends."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

SHOWN = 5
"""Offending rows that a check names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One claim, examined."""

    claim: str
    """What holds if nothing offends."""
    examined: int
    """How many things were looked at."""
    offending: int
    first: tuple[Mapping[str, Any], ...]
    """The first few that offend, JSON-like."""

    @property
    def ok(self) -> bool:
        """Whether the claim holds."""
        return self.offending == 0


def check(claim: str, examined: int, offenders: Iterable[Mapping[str, Any]]) -> Check:
    """Make a check out of all that offends a claim.

    Args:
        claim: What holds if nothing offends.
        examined: How many things were looked at.
        offenders: What offends, each as names and values.

    Returns:
        The check, naming the first few.
    """
    rows = list(offenders)
    first = tuple({str(name): _plain(value) for name, value in row.items()} for row in rows[:SHOWN])
    return Check(claim=claim, examined=examined, offending=len(rows), first=first)


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """The checks of one root, or of two against each other."""

    subject: str
    checks: tuple[Check, ...]
    counts: Mapping[str, int]
    """What was found, by name."""
    being_written: tuple[str, ...]
    """Roots that a driver was writing to meanwhile: of a moving thing nothing is certified."""

    @property
    def ok(self) -> bool:
        """Whether every claim holds, of roots at rest."""
        return not self.being_written and all(item.ok for item in self.checks)

    def as_dict(self) -> dict[str, Any]:
        """Return the certificate as JSON-like values."""
        return {
            "subject": self.subject,
            "ok": self.ok,
            "being_written": list(self.being_written),
            "counts": dict(self.counts),
            "checks": [{**asdict(item), "ok": item.ok, "first": list(item.first)} for item in self.checks],
        }

    def render(self) -> str:
        """Return the certificate as text for people."""
        lines = [self.subject, "  " + ", ".join(f"{count} {name}" for name, count in self.counts.items())]
        for item in self.checks:
            state = "ok  " if item.ok else "FAIL"
            share = f"{item.examined}" if item.ok else f"{item.offending} of {item.examined}"
            lines.append(f"  {state}  {item.claim} ({share})")
            lines += [
                "          " + ", ".join(f"{name}={value}" for name, value in row.items())
                for row in item.first
            ]
        for root in self.being_written:
            lines.append(f"  {root} is being written: check again when its driver has ended")
        lines.append("  certified" if self.ok else "  NOT certified")
        return "\n".join(lines)


def _plain(value: Any) -> Any:
    """Return a cell as JSON can hold it; what is not finite as text."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return value if value is None or isinstance(value, bool | int | str) else str(value)
