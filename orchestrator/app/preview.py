"""What a sweep would do, without doing it."""

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.app.plan import plan_sweep
from orchestrator.app.roots import check_claim
from orchestrator.app.spec import SweepSpec
from orchestrator.metadataset.reader import MetaDatasetReader


@dataclass(frozen=True, slots=True)
class TaskPreview:
    """One task of the plan."""

    name: str
    source: str
    train: int
    validation: int
    test: int
    trials: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A plan in numbers."""

    name: str
    base_model: str
    space_version: str
    tasks: tuple[TaskPreview, ...]
    trials: int
    epochs: int
    training_examples: int
    """Over all trials and epochs, each time an example is shown."""
    finished_trials: int
    """Already on record in the root."""
    points_on_record: int

    def as_dict(self) -> dict[str, Any]:
        """Return the preview as JSON-like values."""
        return asdict(self)

    def render(self) -> RenderableType:
        """Return the preview as a table for people."""
        tasks = Table(box=None, padding=(0, 2), header_style="bold")
        for column in ("task", "train", "validation", "test", "trials", "source"):
            tasks.add_column(column, justify="left" if column in ("task", "source") else "right")
        for task in self.tasks:
            counts = (str(task.train), str(task.validation), str(task.test), str(task.trials))
            tasks.add_row(task.name, *counts, task.source)
        lines = [
            f"sweep {self.name}: {self.trials} trials, {self.epochs} epochs, "
            f"{self.training_examples} training examples shown, on {self.base_model}",
            f"space {self.space_version}",
            f"on record: {self.finished_trials} finished trials, {self.points_on_record} points",
            "nothing was written",
        ]
        return Group(tasks, *(Text(line) for line in lines))


def preview(spec: SweepSpec, root: Path) -> Preview:
    """Plan a sweep and count; writes nothing.

    Args:
        spec: The checked spec.
        root: Where it would be run; what is on record there is counted.

    Returns:
        The counts.

    Raises:
        InputError: As ``run_sweep`` would.
    """
    check_claim(root.absolute(), spec)
    plan = plan_sweep(spec)
    per_epoch = spec.training.examples_per_epoch
    reader = MetaDatasetReader(root)
    planned = {trial.trial_id for trial in plan.trials}
    sizes = {planned.task.task_id: per_epoch or len(planned.task.train) for planned in plan.tasks}
    trials_of_task = Counter(trial.task_id for trial in plan.trials)
    return Preview(
        name=spec.name,
        base_model=spec.base_model,
        space_version=plan.space.version,
        tasks=tuple(
            TaskPreview(
                name=item.task.name,
                source=item.source,
                train=len(item.task.train),
                validation=len(item.task.validation),
                test=len(item.task.test),
                trials=trials_of_task[item.task.task_id],
            )
            for item in plan.tasks
        ),
        trials=len(plan.trials),
        epochs=plan.epochs,
        training_examples=sum(trial.max_epochs * sizes[trial.task_id] for trial in plan.trials),
        finished_trials=int(reader.trials()["trial_id"].isin(planned).sum()),
        points_on_record=int(reader.curves()["trial_id"].isin(planned).sum()),
    )
