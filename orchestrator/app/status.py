"""Where a sweep stands, read from its folder alone; and whether what it holds is right."""

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Group, RenderableType
from rich.table import Table

from orchestrator.app.roots import existing_spec, planned_trials
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.lock import holder_of
from orchestrator.metadataset.reader import MetaDatasetReader
from orchestrator.metadataset.verify import Certificate, compare, verify


@dataclass(frozen=True, slots=True, kw_only=True)
class BestTrial:
    """The trial with the lowest validation loss of a task."""

    task: str
    trial_id: str
    epoch: int
    eval_loss: float
    eval_exact_match: float
    test_exact_match: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Truncation:
    """Examples of a task, of all splits, that ``max_length_tokens`` cut."""

    task: str
    prompts: int
    """Lost their beginning."""
    answers: int
    """Lost their end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepStatus:
    """A sweep as its folder shows it."""

    name: str
    root: str
    planned: int
    outcomes: dict[str, int]
    points: int
    unpublished_rows: int
    """Rows in the write-ahead log that Parquet does not show yet."""
    driver: str | None
    """The process that is at work on it, or None."""
    train_s: float
    eval_s: float
    generation_s: float
    """Of the evaluation, generating answers."""
    truncated: tuple[Truncation, ...]
    """Tasks of which examples were cut."""
    best: tuple[BestTrial, ...]
    """One a task that has a point."""

    @property
    def finished(self) -> int:
        """Trials with an outcome."""
        return sum(self.outcomes.values())

    @property
    def is_done(self) -> bool:
        """Whether every planned trial has its outcome."""
        return self.finished >= self.planned

    def as_dict(self) -> dict[str, Any]:
        """Return the status as JSON-like values."""
        return {
            "name": self.name,
            "root": self.root,
            "planned": self.planned,
            "finished": self.finished,
            "outcomes": self.outcomes,
            "points": self.points,
            "unpublished_rows": self.unpublished_rows,
            "driver": self.driver,
            "train_s": self.train_s,
            "eval_s": self.eval_s,
            "generation_s": self.generation_s,
            "truncated": [asdict(item) for item in self.truncated],
            "best": [asdict(item) for item in self.best],
        }

    def _without_driver(self) -> str:
        return "none" if self.is_done else f"none; continue with: foretune resume {self.root}"

    def render(self) -> RenderableType:
        """Return the status as a table for people."""
        head = Table.grid(padding=(0, 2))
        outcomes = ", ".join(f"{count} {name}" for name, count in self.outcomes.items()) or "none yet"
        head.add_row("sweep", f"{self.name} in {self.root}")
        head.add_row("driver", self.driver or self._without_driver())
        head.add_row("trials", f"{self.finished} of {self.planned} finished: {outcomes}")
        where = "on their way to" if self.driver else "not yet in"
        behind = f", {self.unpublished_rows} rows {where} Parquet" if self.unpublished_rows else ""
        head.add_row("points", f"{self.points}{behind}")
        head.add_row(
            "cost",
            f"{self.train_s:.1f} s of training, {self.eval_s:.1f} s of evaluation, of it "
            f"{self.generation_s:.1f} s of generating answers",
        )
        for cut in self.truncated:
            head.add_row(
                "cut",
                f"{cut.task}: {cut.prompts} prompts at their beginning, {cut.answers} answers at their end; "
                "see training.max_length_tokens",
            )
        best = Table(box=None, padding=(0, 2), header_style="bold")
        for column in ("task", "best trial", "epoch", "eval_loss", "exact match", "test exact match"):
            best.add_column(column, justify="left" if column in ("task", "best trial") else "right")
        for item in self.best:
            scores = (f"{item.eval_loss:.4f}", f"{item.eval_exact_match:.2f}", f"{item.test_exact_match:.2f}")
            best.add_row(item.task, item.trial_id, str(item.epoch), *scores)
        return Group(head, best)


def status_of(root: Path) -> SweepStatus:
    """Read a sweep's status.

    Args:
        root: The sweep's folder.

    Returns:
        The status.

    Raises:
        InputError: The root holds no sweep.
    """
    spec = existing_spec(root)
    # Before the tables: a driver that ends in between has written what it had to say.
    driver = holder_of(RootLayout(root).lock_file)
    reader = MetaDatasetReader(root)
    trials, curves, tasks = reader.trials(), reader.curves(), reader.tasks()
    names = dict(zip(tasks["task_id"], tasks["name"], strict=True))
    names |= dict(zip(trials["task_id"], trials["task_name"], strict=True))
    best: list[BestTrial] = []
    for task_id, rows in curves.groupby("task_id", sort=False):
        for _, row in rows.nsmallest(1, "eval_loss").iterrows():
            best.append(
                BestTrial(
                    task=names.get(task_id, str(task_id)),
                    trial_id=row["trial_id"],
                    epoch=int(row["epoch"]),
                    eval_loss=float(row["eval_loss"]),
                    eval_exact_match=float(row["eval_exact_match"]),
                    test_exact_match=float(row["test_exact_match"]),
                )
            )
    planned = planned_trials(root)
    counted = trials[trials["trial_id"].isin(planned)]
    return SweepStatus(
        name=spec.name,
        root=str(root),
        planned=len(planned),
        outcomes=dict(Counter(counted["outcome"]).most_common()),
        points=len(curves),
        unpublished_rows=reader.unpublished_rows(),
        driver=driver,
        train_s=float(curves["train_s"].sum()),
        eval_s=float(curves["eval_s"].sum()),
        generation_s=float(curves["generation_s"].sum()),
        truncated=_truncated(tasks),
        best=tuple(sorted(best, key=lambda item: item.task)),
    )


def _truncated(tasks: pd.DataFrame) -> tuple[Truncation, ...]:
    """Return the tasks that lost something; where it was not counted, nothing is said."""
    counted = tasks[["name", "truncated_prompts", "truncated_answers"]].fillna(0)
    cuts = (Truncation(task=str(name), prompts=int(p), answers=int(a)) for name, p, a in counted.to_numpy())
    return tuple(cut for cut in sorted(cuts, key=lambda cut: cut.task) if cut.prompts or cut.answers)


def certify(root: Path, against: Path | None) -> list[Certificate]:
    """Verify a sweep and, if asked, the other one and that both hold the same results.

    Args:
        root: The sweep's folder.
        against: Another sweep's, or None.

    Returns:
        One certificate a sweep, and one of the comparison.

    Raises:
        InputError: A root holds no sweep.
    """
    roots = [root] if against is None else [root, against]
    for each in roots:
        existing_spec(each)
    certificates = [verify(each, planned=planned_trials(each)) for each in roots]
    if against is not None:
        certificates.append(compare(root, against))
    return certificates
