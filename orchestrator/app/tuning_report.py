"""What a tuned plan came to, beside what was predicted."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.app.advice_view import brief
from orchestrator.app.progress import duration
from orchestrator.app.tuning_plan import StoredPlan, TuningLayout
from orchestrator.contracts import ConfigId, config_id
from orchestrator.metadataset.reader import MetaDatasetReader
from surrogates.plan import Choice


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """What a choice came to: its best epoch by validation loss, up to the planned one."""

    trial_id: str
    outcome: str | None
    """None while it is under way."""
    epochs: int
    """Epochs on record, at most those planned."""
    best_epoch: int
    """0 if no epoch has a validation loss."""
    eval_loss: float | None
    test_loss: float | None
    test_exact_match: float | None
    cost_s: float
    """Seconds of training and evaluation, without the epochs that a choice before it asked for."""
    value: float | None
    """Best value of the predicted metric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedChoice:
    """One choice of the plan, predicted and measured."""

    choice: Choice
    differs: str
    """What of its config is not the default."""
    reached: Reached | None
    """None if it was not begun."""

    @property
    def is_inside(self) -> bool | None:
        """Whether the predicted interval holds what was measured; None if it was not run so far."""
        if self.reached is None or self.reached.value is None or self.reached.epochs < self.choice.epochs:
            return None
        return self.choice.score.low <= self.reached.value <= self.choice.score.high

    def as_dict(self) -> dict[str, Any]:
        """Return the choice as JSON-like values."""
        score, reached = self.choice.score, self.reached
        return {
            "rank": self.choice.rank,
            "config": dict(self.choice.config),
            "planned_epochs": self.choice.epochs,
            "is_reserve": self.choice.is_reserve,
            "predicted": {
                "metric": score.metric,
                "value": score.value,
                "low": score.low,
                "high": score.high,
                "cost_s": self.choice.cost_s,
            },
            "reached": None
            if reached is None
            else {name: getattr(reached, name) for name in reached.__dataclass_fields__},
            "is_inside": self.is_inside,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneReport:
    """How far a plan was run, and what it gave."""

    out: Path
    task_name: str
    root: Path
    """What was learned from."""
    budget_s: float
    spent_s: float
    """Seconds of training and evaluation on record."""
    predicted_s: float
    """Of the whole plan."""
    is_done: bool
    """Whether the plan has been run, or the budget is gone; otherwise the same command goes on."""
    choices: tuple[TunedChoice, ...]
    adapter: Path | None
    """The best one; None if no trial gave any."""

    @property
    def best(self) -> TunedChoice | None:
        """The choice with the lowest validation loss."""
        measured = [item for item in self.choices if item.reached and item.reached.eval_loss is not None]
        return min(measured, key=lambda item: item.reached.eval_loss, default=None)  # type: ignore[union-attr, arg-type, return-value]

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON-like values."""
        best = self.best
        return {
            "task": self.task_name,
            "out": str(self.out),
            "root": str(self.root),
            "budget_s": self.budget_s,
            "spent_s": self.spent_s,
            "predicted_s": self.predicted_s,
            "is_done": self.is_done,
            "adapter": None if self.adapter is None else str(self.adapter),
            "best_rank": None if best is None else best.choice.rank,
            "choices": [item.as_dict() for item in self.choices],
        }

    def render(self) -> RenderableType:
        """Return the report as a table for people."""
        begun = sum(item.reached is not None for item in self.choices)
        lines = [
            f"{self.task_name}: {begun} of {len(self._shown)} choices begun; {duration(self.spent_s)} of "
            f"training and evaluation of a budget of {duration(self.budget_s)} (predicted: "
            f"{duration(self.predicted_s)})"
        ]
        if self.is_done and begun < len(self._shown) and self.spent_s >= self.budget_s:
            lines.append("The budget was gone before the rest")
        return Group(*map(Text, lines), self._table())

    @property
    def _shown(self) -> list[TunedChoice]:
        """The choices but for a reserve that was not needed."""
        return [item for item in self.choices if item.reached is not None or not item.choice.is_reserve]

    def _table(self) -> Table:
        table = Table(box=None, padding=(0, 1), header_style="bold")
        table.add_column("#", justify="right", no_wrap=True)
        table.add_column("config", ratio=1, overflow="fold")
        metric = self.choices[0].choice.score.metric
        columns = ("epochs", "eval loss", "test loss", "test EM", "cost", f"predicted {metric}", "inside")
        for column in columns:
            table.add_column(column, justify="right", no_wrap=True)
        best = self.best
        for item in self._shown:
            score, reached = item.choice.score, item.reached
            mark = "*" if best is not None and item.choice.rank == best.choice.rank else ""
            measured = ("-", "-", "-", "-", "-") if reached is None else _measured(reached, item.choice)
            inside = {None: "-", True: "yes", False: "no"}[item.is_inside]
            table.add_row(
                f"{item.choice.rank}{mark}",
                item.differs,
                *measured,
                f"{score.value:.2f} ({score.low:.2f}-{score.high:.2f})",
                inside,
            )
        return table


def _measured(reached: Reached, choice: Choice) -> tuple[str, ...]:
    def shown(value: float | None, digits: int) -> str:
        return "-" if value is None else f"{value:.{digits}f}"

    failed = reached.outcome not in (None, "completed", "stopped")
    epochs = f"{reached.epochs} of {choice.epochs}" + (f", {reached.outcome}" if failed else "")
    return (
        epochs,
        shown(reached.eval_loss, 4),
        shown(reached.test_loss, 4),
        shown(reached.test_exact_match, 2),
        f"{reached.cost_s:.1f} s",
    )


def tune_report(
    stored: StoredPlan, layout: TuningLayout, *, spent_s: float, is_done: bool, adapter: Path | None
) -> TuneReport:
    """Read what a plan came to.

    Args:
        stored: The plan.
        layout: Of its folder.
        spent_s: Seconds on record.
        is_done: Whether nothing is left to do.
        adapter: The best one.

    Returns:
        The report.
    """
    reader = MetaDatasetReader(layout.sweep)
    curves, trials = reader.curves(), reader.trials()
    asked: dict[ConfigId, int] = {}
    choices = []
    for choice in stored.plan.choices:
        key = config_id(choice.config)
        reached = _reached(choice, asked.get(key, 0), stored.plan.learned_from.direction, curves, trials)
        asked[key] = max(choice.epochs, asked.get(key, 0))
        differs = brief(choice.config, stored.default_config)
        choices.append(TunedChoice(choice=choice, differs=differs, reached=reached))
    return TuneReport(
        out=layout.out,
        task_name=stored.task_name,
        root=stored.root,
        budget_s=stored.budget_s,
        spent_s=spent_s,
        predicted_s=stored.plan.cost_s,
        is_done=is_done,
        choices=tuple(choices),
        adapter=adapter,
    )


def _reached(
    choice: Choice, from_epoch: int, direction: str, curves: pd.DataFrame, trials: pd.DataFrame
) -> Reached | None:
    key = config_id(choice.config)
    rows = curves.loc[(curves["config_id"] == key) & (curves["epoch"] <= choice.epochs)]
    new = rows.loc[rows["epoch"] > from_epoch]
    results = trials.loc[trials["config_id"] == key]
    if new.empty and (results.empty or from_epoch):
        return None
    values = rows[choice.score.metric].dropna() if choice.score.metric in rows else rows["eval_loss"].iloc[:0]
    value = values.min() if direction == "minimise" else values.max()
    # Those of a trial that failed also have the seconds of its last epoch, which left no row.
    costs = results if not from_epoch and len(rows) == results["epochs"].sum() else new
    best = rows.dropna(subset=["eval_loss"]).nsmallest(1, "eval_loss")
    source = rows if len(rows) else results
    return Reached(
        trial_id=str(source["trial_id"].iloc[0]),
        outcome=str(results["outcome"].iloc[0]) if len(results) else None,
        epochs=len(rows),
        best_epoch=int(best["epoch"].iloc[0]) if len(best) else 0,
        eval_loss=float(best["eval_loss"].iloc[0]) if len(best) else None,
        test_loss=float(best["test_loss"].iloc[0]) if len(best) else None,
        test_exact_match=float(best["test_exact_match"].iloc[0]) if len(best) else None,
        cost_s=float(costs["train_s"].sum() + costs["eval_s"].sum()),
        value=float(value) if len(values) else None,
    )
