"""What a live comparison came to, as a record, JSON, and tables for people."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import RenderableType

from orchestrator.app.evaluation_tables import (
    Titled,
    counted,
    markdown_tables,
    render_tables,
    shown_against,
    shown_interval,
)
from surrogates.evaluation.outcomes import OutcomeSummary

ByClock = Mapping[bool, tuple[OutcomeSummary, ...]]
"""Whether the methods' own seconds count, to their results."""
_SHORT = {"test_loss": "test loss", "test_exact_match": "exact match", "test_token_f1": "token F1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveTask:
    """One new task."""

    task_id: str
    name: str
    source: str
    untrained: Mapping[str, float]
    """The base model's test metrics."""
    trained_configs: int
    """That got any epoch, by whichever method."""
    trained_epochs: int
    trained_s: float
    """Seconds of training and evaluation of those epochs, as they are charged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveComparison:
    """A comparison in which every method really finetuned."""

    path: Path
    """The sweep that was learned from."""
    out: Path
    """Where everything about it lies."""
    metric: str
    """Decides, on validation."""
    tests: tuple[str, ...]
    """What an incumbent is told in; the first one decides between methods."""
    budgets: tuple[float, ...]
    """Multiples of the unit, rising."""
    unit_s: float
    """Seconds of a full run, as past tasks tell."""
    seeds: int
    own_time: bool
    """Which clock ``render`` shows."""
    shares: bool
    candidates: int
    fresh: int
    """Of the candidates, those that are not on record."""
    trials: int
    """Of the past."""
    past_tasks: int
    tasks: tuple[LiveTask, ...]
    methods: ByClock
    notes: tuple[str, ...]
    """What is missing, and why."""

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON-like values."""
        names = {True: "with_own_time", False: "without_own_time"}
        return {
            "live": True,
            "path": str(self.path),
            "out": str(self.out),
            "metric": self.metric,
            "tests": list(self.tests),
            "budgets": list(self.budgets),
            "unit_s": self.unit_s,
            "seeds": self.seeds,
            "own_time": self.own_time,
            "shares": self.shares,
            "candidates": self.candidates,
            "fresh": self.fresh,
            "trials": self.trials,
            "past_tasks": self.past_tasks,
            "tasks": [asdict(task) for task in self.tasks],
            "methods": {
                names[clock]: [asdict(method) for method in found] for clock, found in self.methods.items()
            },
            "notes": list(self.notes),
        }

    def head(self) -> str:
        """Return in one sentence what was compared."""
        clock = "own seconds count" if self.own_time else "own seconds don't count"
        return (
            f"{counted(len(self.tasks), 'new task')}, {counted(self.seeds, 'seed')}; learned from "
            f"{self.trials} trials on {counted(self.past_tasks, 'task')}; {self.candidates} candidates, "
            f"{self.fresh} of them fresh; 1x is {self.unit_s:.1f} s; the methods' {clock}"
        )

    def legend(self) -> str:
        """Return how to read the table."""
        return (
            "loss/zero-shot: test loss of the validation incumbent over that of the untrained base model; "
            "mean over tasks with its 95 % bootstrap interval. rank: by test loss, mean over tasks, seeds "
            "and budgets. against: tasks on which ours won-tied-lost, and p of the Wilcoxon test paired by "
            "task, Holm-corrected. configs: those that got any epoch. own seconds: the method's, until its "
            "incumbent."
        )

    def tables(self) -> list[Titled]:
        """Return title, columns and rows of each table."""
        return [
            ("Methods", *self._methods()),
            (f"On the test split, at {self.budgets[-1]:g}x", *self._on_test()),
            ("Tasks", *self._tasks()),
        ]

    def render(self) -> RenderableType:
        """Return the tables for people."""
        return render_tables(self.head(), self.tables(), self.legend(), self.notes, self.out)

    def markdown(self) -> str:
        """Return the tables as Markdown."""
        return markdown_tables("Live comparison", self.head(), self.tables(), self.legend(), self.notes)

    def _methods(self) -> tuple[list[str], list[list[str]]]:
        columns = [
            "method",
            *(f"loss/zero-shot {budget:g}x" for budget in self.budgets),
            "rank",
            *(f"against {budget:g}x" for budget in self.budgets),
        ]
        rows = []
        for method in self.methods[self.own_time]:
            rank = sum(at.rank for at in method.at) / len(method.at)
            rows.append(
                [
                    method.name,
                    *(shown_interval(at.relative) for at in method.at),
                    f"{rank:.1f}",
                    *(shown_against(at.against) for at in method.at),
                ]
            )
        return columns, rows

    def _on_test(self) -> tuple[list[str], list[list[str]]]:
        columns = ["method", *(_SHORT[name] for name in self.tests), "configs", "own seconds"]
        rows = [
            [
                method.name,
                *_shown(method.at[-1].tests, self.tests),
                f"{method.at[-1].configs:.1f}",
                f"{method.at[-1].own_s:.1f}",
            ]
            for method in self.methods[self.own_time]
        ]
        return columns, rows

    def _tasks(self) -> tuple[list[str], list[list[str]]]:
        columns = [
            "task",
            *(f"zero-shot {_SHORT[name]}" for name in self.tests),
            *("configs trained", "epochs", "seconds"),
        ]
        rows = [
            [
                task.name,
                *_shown(task.untrained, self.tests),
                *(str(task.trained_configs), str(task.trained_epochs), f"{task.trained_s:.1f}"),
            ]
            for task in self.tasks
        ]
        return columns, rows


def _shown(values: Mapping[str, float], names: Sequence[str]) -> list[str]:
    return [f"{values[name]:.4f}" if name == "test_loss" else f"{values[name]:.2f}" for name in names]
