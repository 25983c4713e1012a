"""What came of running a trial again: the same numbers, or where they differ and what else does."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
from rich.console import Group, RenderableType
from rich.table import Table

from orchestrator.app.provenance import WORKER
from orchestrator.contracts import METRIC_COLUMNS, Outcome

TOLERANCE = 1e-3
"""Nats, or points of a score: up to here a difference is taken for another machine's round-off."""
SHOWN = 20
"""Differing values that people are shown."""
_NOT_COMPARED = frozenset({WORKER + "host"})
"""Part of the provenance that no number depends on."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One value of the curve that is another now."""

    epoch: int
    column: str
    then: float | None
    """As the root has it; None: that row is missing."""
    now: float | None

    @property
    def size(self) -> float:
        """How far they are apart; infinite where one is missing or not a number."""
        if self.then is None or self.now is None or math.isnan(self.then - self.now):
            return math.inf
        return abs(self.then - self.now)


@dataclass(frozen=True, slots=True)
class Change:
    """One fact about where the numbers come from that is another now."""

    name: str
    then: str
    now: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """A trial, run again and compared."""

    trial_id: str
    root: str
    rerun_root: str | None
    """Where the second run was kept; None if it was not."""
    epochs: int
    """Epochs compared."""
    outcome_then: Outcome
    """What the second run was to end with: of a trial stopped by a rule, that it reached the same epoch."""
    outcome_now: Outcome
    error_now: str | None
    differences: tuple[Difference, ...]
    not_compared: tuple[str, ...]
    """Columns that the root's rows lack."""
    changes: tuple[Change, ...]
    tolerance: float
    notes: tuple[str, ...] = ()

    @property
    def largest(self) -> float:
        """The largest difference; 0 where all is equal bit for bit."""
        return max((difference.size for difference in self.differences), default=0.0)

    @property
    def ok(self) -> bool:
        """Whether the trial ended alike and no number differs by more than the tolerance."""
        return self.outcome_now is self.outcome_then and self.largest <= self.tolerance

    @property
    def verdict(self) -> str:
        """What came of it, in a sentence."""
        if self.outcome_now is not self.outcome_then:
            reason = f": {self.error_now}" if self.error_now else ""
            return f"NOT reproduced: it was {self.outcome_then} and is now {self.outcome_now}{reason}"
        what = f"{self.epochs} epochs" if self.epochs != 1 else "1 epoch"
        if not self.differences:
            return f"equal bit for bit: {self.outcome_then}, {what}"
        if self.ok:
            return f"equal within {self.largest:.1g}: {self.outcome_then}, {what}"
        return f"NOT reproduced: {len(self.differences)} values differ, by up to {self.largest:.1g}"

    def as_dict(self) -> dict[str, Any]:
        """Return the comparison as JSON-like values; what is not finite as null."""
        return {
            "trial_id": self.trial_id,
            "root": self.root,
            "rerun_root": self.rerun_root,
            "ok": self.ok,
            "verdict": self.verdict,
            "epochs": self.epochs,
            "outcome": {"then": self.outcome_then.value, "now": self.outcome_now.value},
            "error": self.error_now,
            "tolerance": self.tolerance,
            "differences": [
                {name: _finite(value) for name, value in asdict(item).items()} for item in self.differences
            ],
            "not_compared": list(self.not_compared),
            "changes": [asdict(change) for change in self.changes],
            "notes": list(self.notes),
        }

    def render(self) -> RenderableType:
        """Return the comparison for people."""
        parts: list[RenderableType] = [f"trial {self.trial_id} of {self.root}", *self.notes]
        if self.not_compared:
            parts.append(f"not compared, as the root has no such values: {', '.join(self.not_compared)}")
        if self.differences and not self.ok:
            table = _table("epoch", "column", "then", "now", "difference")
            for item in self.differences[:SHOWN]:
                values = (_shown(item.then), _shown(item.now), f"{item.size:.2g}")
                table.add_row(str(item.epoch), item.column, *values)
            parts.append(table)
            if len(self.differences) > SHOWN:
                parts.append(f"  and {len(self.differences) - SHOWN} more; --json has them all")
        if self.changes:
            table = _table("what is another now", "then", "now")
            for change in self.changes:
                table.add_row(change.name, change.then, change.now)
            parts.append(table)
        elif not self.ok:
            parts.append("code, packages and device are those of the first run")
        if self.rerun_root is not None:
            parts.append(f"the second run lies in {self.rerun_root}")
        return Group(*parts, self.verdict)


def compare_curves(
    then: pd.DataFrame, now: pd.DataFrame, epochs: int
) -> tuple[tuple[Difference, ...], tuple[str, ...]]:
    """Compare what depends on the trial alone, epoch by epoch.

    Args:
        then: The trial's rows of the curves table, as the root has them.
        now: Those of the second run.
        epochs: Epochs to compare, from the first.

    Returns:
        The values that differ, in the order of epochs and columns; and the columns that the first rows lack.
    """
    rows_then, rows_now = _by_epoch(then), _by_epoch(now)
    lacking = tuple(name for name in METRIC_COLUMNS if len(then) and then[name].isna().all())
    differences = []
    for epoch in range(1, epochs + 1):
        for name in METRIC_COLUMNS:
            if name in lacking:
                continue
            before, after = (_number(rows.get(epoch), name) for rows in (rows_then, rows_now))
            if before != after:
                differences.append(Difference(epoch, name, before, after))
    return tuple(differences), lacking


def compare_facts(then: Mapping[str, str], now: Mapping[str, str]) -> tuple[Change, ...]:
    """Return what differs between two accounts of where numbers come from; what only one tells is none."""
    both = [name for name in then if name in now and name not in _NOT_COMPARED]
    return tuple(Change(name, then[name], now[name]) for name in both if then[name] != now[name])


def _by_epoch(curve: pd.DataFrame) -> dict[int, Mapping[str, Any]]:
    return {int(row["epoch"]): {str(k): v for k, v in row.items()} for _, row in curve.iterrows()}


def _number(row: Mapping[str, Any] | None, name: str) -> float | None:
    """Return a value of a row; None if there is no such row, or nothing in it."""
    if row is None or pd.isna(row[name]):
        return None
    return float(row[name])


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.10g}"


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2), header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
