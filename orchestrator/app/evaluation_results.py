"""What a comparison came to, as a record, JSON, and tables for people."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import RenderableType

from orchestrator.app.evaluation_ground import Elsewhere
from orchestrator.app.evaluation_tables import (
    Titled,
    counted,
    markdown_tables,
    render_tables,
    shown_against,
    shown_interval,
)
from surrogates.evaluation.summary import AtBudget, MethodSummary

ByClock = Mapping[bool, tuple[MethodSummary, ...]]
"""Whether the methods' own seconds count, to their results."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A comparison by replay."""

    path: Path
    """What was learned from, and replayed unless ``elsewhere`` says what else was."""
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
    """Names of those that were replayed."""
    trials: int
    """On record where was replayed; so are the points."""
    points: int
    elsewhere: Elsewhere | None
    """What was replayed in the place of ``path``'s own tasks; None where those were left out in turn."""
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
            "elsewhere": self.elsewhere.as_dict() if self.elsewhere is not None else None,
            "methods": _clocks(self.methods),
            "ablations": _clocks(self.ablations),
            "notes": list(self.notes),
        }

    def head(self) -> str:
        """Return in one sentence what was compared."""
        clock = "own seconds count" if self.own_time else "own seconds don't count"
        return (
            f"{self._tested()}, {counted(self.seeds, 'seed')}, {self.trials} trials, "
            f"{self.points} points; {self.metric} is {self.direction}d; the methods' {clock}"
        )

    def _tested(self) -> str:
        """Return what was learned from and what it was tested on."""
        there = self.elsewhere
        if there is None:
            return f"{len(self.tasks)} tasks left out in turn"
        shared = len(there.shared_tasks)
        left_out = f"; {counted(shared, 'task')} of both left out of that in turn" if shared else ""
        return (
            f"learned from {there.learned_trials} trials on {counted(there.learned_tasks, 'task')} of "
            f"{self.path}{left_out}; tested on {counted(len(self.tasks), 'task')} of {there.on}"
        )

    def legend(self) -> str:
        """Return how to read the table."""
        return (
            "regret: 0 the best config on record, 1 the median one; mean over tasks with its 95 % bootstrap "
            "interval. rank: mean over tasks, seeds and budgets. against: tasks on which ours won-tied-lost, "
            "and p of the Wilcoxon test paired by task, Holm-corrected."
        )

    def tables(self) -> list[Titled]:
        """Return title, columns and rows of each table."""
        tables: list[Titled] = [("Methods", *self._table(self.methods[self.own_time]))]
        if self.ablations:
            tables.append(("Without one part", *self._table(self.ablations[self.own_time])))
        return tables

    def render(self) -> RenderableType:
        """Return the tables for people."""
        return render_tables(self.head(), self.tables(), self.legend(), self.notes, self.out)

    def markdown(self) -> str:
        """Return the tables as Markdown."""
        title = "Leave-one-task-out comparison" if self.elsewhere is None else "Comparison on another root"
        return markdown_tables(title, self.head(), self.tables(), self.legend(), self.notes)

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
            regrets = [shown_interval(at.regret) for at in method.at]
            rows.append(
                [
                    method.name,
                    *regrets,
                    f"{rank:.1f}",
                    *test,
                    *(shown_against(at.against) for at in method.at),
                ]
            )
        return columns, rows


def _clocks(by_clock: ByClock) -> dict[str, Any]:
    names = {True: "with_own_time", False: "without_own_time"}
    return {names[own_time]: [asdict(method) for method in found] for own_time, found in by_clock.items()}


def _test(at: AtBudget, tasks: int) -> str:
    if at.test is None:
        return "-"
    return f"{at.test:.4g}" + ("" if at.test_tasks == tasks else f" ({at.test_tasks} of {tasks})")
