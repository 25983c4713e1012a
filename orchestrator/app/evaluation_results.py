"""What a comparison came to, as a record, JSON, and tables for people."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from surrogates.evaluation.ours import OURS
from surrogates.evaluation.statistics import Interval
from surrogates.evaluation.summary import AtBudget, MethodSummary

ByClock = Mapping[bool, tuple[MethodSummary, ...]]
"""Whether the methods' own seconds count, to their results."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A leave-one-task-out comparison."""

    path: Path
    out: Path
    """Where everything about it lies."""
    metric: str
    """Decides, on validation."""
    direction: str
    test_metric: str | None
    budgets: tuple[float, ...]
    """Multiples of each task's median cost of a full run, rising."""
    seeds: int
    own_time: bool
    """Which clock ``render`` shows."""
    tasks: tuple[str, ...]
    """Names of those that were left out in turn."""
    trials: int
    points: int
    methods: ByClock
    ablations: ByClock
    """Ours whole and with a part left out; empty unless it was asked for."""
    notes: tuple[str, ...]
    """What is missing, and why."""

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON-like values."""
        return {
            "path": str(self.path),
            "out": str(self.out),
            "metric": self.metric,
            "direction": self.direction,
            "test_metric": self.test_metric,
            "budgets": list(self.budgets),
            "seeds": self.seeds,
            "own_time": self.own_time,
            "tasks": list(self.tasks),
            "trials": self.trials,
            "points": self.points,
            "methods": _clocks(self.methods),
            "ablations": _clocks(self.ablations),
            "notes": list(self.notes),
        }

    def head(self) -> str:
        """Return in one sentence what was compared."""
        clock = "own seconds count" if self.own_time else "own seconds don't count"
        return (
            f"{len(self.tasks)} tasks left out in turn, {_count(self.seeds, 'seed')}, {self.trials} trials, "
            f"{self.points} points; {self.metric} is {self.direction}d; the methods' {clock}"
        )

    def legend(self) -> str:
        """Return how to read the table."""
        return (
            "regret: 0 the best config on record, 1 the median one; mean over tasks with its 95 % bootstrap "
            "interval. rank: mean over tasks, seeds and budgets. against: tasks on which ours won-tied-lost, "
            "and p of the Wilcoxon test paired by task, Holm-corrected."
        )

    def tables(self) -> list[tuple[str, list[str], list[list[str]]]]:
        """Return title, columns and rows of each table."""
        tables = [("Methods", *self._table(self.methods[self.own_time]))]
        if self.ablations:
            tables.append(("Without one part", *self._table(self.ablations[self.own_time])))
        return tables

    def render(self) -> RenderableType:
        """Return the tables for people."""
        shown: list[RenderableType] = [Text(self.head())]
        for title, columns, rows in self.tables():
            table = Table(
                box=None, padding=(0, 2, 0, 0), header_style="bold", title=title, title_justify="left"
            )
            for place, column in enumerate(columns):
                table.add_column(column, justify="left" if place == 0 else "right", no_wrap=place > 0)
            for row in rows:
                table.add_row(*row, style="bold" if row[0] == OURS else None)
            shown.append(table)
        shown += [Text(self.legend()), *(Text(f"note: {note}") for note in self.notes)]
        return Group(*shown, Text(f"written to {self.out}"))

    def markdown(self) -> str:
        """Return the tables as Markdown."""
        parts = ["# Leave-one-task-out comparison", self.head() + ".", self.legend()]
        for title, columns, rows in self.tables():
            lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
            table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
            parts += [f"## {title}", table]
        if self.notes:
            parts += ["## Notes", "\n".join(f"- {note}" for note in self.notes)]
        return "\n\n".join(parts) + "\n"

    def _table(self, methods: Sequence[MethodSummary]) -> tuple[list[str], list[list[str]]]:
        last = f"{self.budgets[-1]:g}x"
        columns = [
            "method",
            *(f"regret {budget:g}x" for budget in self.budgets),
            "rank",
            *([f"{self.test_metric} {last}"] if self.test_metric else []),
            *(f"against {budget:g}x" for budget in self.budgets),
        ]
        rows = []
        for method in methods:
            rank = sum(at.rank for at in method.at) / len(method.at)
            test = [_test(method.at[-1], len(self.tasks))] if self.test_metric else []
            regrets = [_interval(at.regret) for at in method.at]
            rows.append([method.name, *regrets, f"{rank:.1f}", *test, *map(_against, method.at)])
        return columns, rows


def _clocks(by_clock: ByClock) -> dict[str, Any]:
    names = {True: "with_own_time", False: "without_own_time"}
    return {names[own_time]: [asdict(method) for method in found] for own_time, found in by_clock.items()}


def _interval(interval: Interval) -> str:
    return f"{interval.mean:.3f} ({interval.low:.2f}-{interval.high:.2f})"


def _test(at: AtBudget, tasks: int) -> str:
    if at.test is None:
        return "-"
    return f"{at.test:.4g}" + ("" if at.test_tasks == tasks else f" ({at.test_tasks} of {tasks})")


def _against(at: AtBudget) -> str:
    found = at.against
    return "" if found is None else f"{found.wins}-{found.ties}-{found.losses} {found.p_holm:.2f}"


def _count(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "s")
