"""What a sweep would do, without doing it."""

import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.app.plan import SweepPlan, plan_sweep
from orchestrator.app.roots import check_claim
from orchestrator.app.sharing import survey_sweep
from orchestrator.app.spec import SweepSpec
from orchestrator.metadataset.reader import MetaDatasetReader

if TYPE_CHECKING:
    from workers.footprint.survey import Survey  # imports torch


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
    survey: "Survey | None"
    """What the trials will need; None of a rehearsal, which finetunes nothing."""

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
            *(_survey_lines(self.survey) if self.survey else ()),
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
        survey=None if spec.is_rehearsal else _survey(spec, plan),
    )


def _survey(spec: SweepSpec, plan: SweepPlan) -> "Survey":
    """Tell what the trials will need of the devices that the spec asks for."""
    import torch

    from workers.footprint.fitting import device_memory_bytes

    has_gpu = torch.cuda.is_available()
    wanted = spec.workers.gpus
    gpus = float(has_gpu) if wanted == "auto" else wanted
    memory = device_memory_bytes(torch.device("cuda")) if gpus > 0 and has_gpu else None
    return survey_sweep(spec, plan, gpus=gpus, gpu_memory_bytes=memory)


def _survey_lines(survey: "Survey") -> list[str]:
    """Return what a survey found, as lines for people."""
    from workers.footprint.estimate import gibibytes

    lines = []
    if survey.largest_bytes is not None and survey.median_bytes is not None:
        sharing = (
            f"; {survey.trials_per_gpu} could share a GPU of this machine" if survey.trials_per_gpu else ""
        )
        lines.append(
            f"memory of a trial: at most about {gibibytes(survey.largest_bytes)}, in the median "
            f"{gibibytes(survey.median_bytes)}{sharing}"
        )
    if survey.refused_trials:
        lines.append(f"{survey.refused_trials} trials can't run on this model and will end as invalid:")
    for refusal in survey.refusals:
        lines.append(f"  {refusal.trials} because {refusal.reason}")
        lines.append(f"    such as {json.dumps(refusal.example)}")
    return lines
