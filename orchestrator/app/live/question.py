"""What a live comparison is about: the past, the tasks, the candidates, and the unit of the budgets."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orchestrator.app.plan import PlannedTask
from orchestrator.app.roots import existing_spec
from orchestrator.app.spec import SweepSpec
from orchestrator.contracts import Config, InputError, NothingLearnedError, config_id, digest
from orchestrator.metadataset.reader import MetaDatasetReader
from surrogates.data.store import is_tables
from surrogates.evaluation.record import median_cost_s, recorded_curve
from surrogates.metadataset import MetaDataset
from workers.models.location import locate
from workers.space import SearchSpace
from workers.tasks.loading import load_task

TESTS = ("test_loss", "test_exact_match", "test_token_f1")
"""What an incumbent is told in."""
FRESH_SEED = 1_000_003
"""Of the draws that are added to the candidates; no sweep's own seed is likely to be this."""
_LONGEST_NAME = 60
"""Characters of a task's name in a folder's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveQuestion:
    """Everything that is the same for all methods."""

    root: Path
    past: MetaDataset
    like: SweepSpec
    """The sweep of the past: its base model and its settings hold for the new tasks."""
    tasks: tuple[PlannedTask, ...]
    """New ones."""
    configs: tuple[Config, ...]
    """The candidates: those on record, in the order of their ids, then the fresh ones."""
    fresh: int
    max_epochs: int
    unit_s: float
    """Seconds of a full run, as past tasks tell: budgets are multiples of it."""

    def names(self) -> dict[str, str]:
        """Return task id to what a task is called: its name, or its source where two have the same."""
        called = [planned.task.name for planned in self.tasks]
        return {
            planned.task.task_id: planned.source if called.count(planned.task.name) > 1 else planned.task.name
            for planned in self.tasks
        }

    def folder(self, planned: PlannedTask) -> str:
        """Return the name of a task's root: another one for each task, base model and settings."""
        identity = [
            planned.task.task_id,
            list(self.past.base_fingerprints),
            self.like.identity()["training"],
            list(self.like.seeds[:1]),
        ]
        name = re.sub(r"[^\w.=-]+", "-", planned.task.name)[:_LONGEST_NAME]
        return f"{name}-{digest(identity)[:8]}"


def live_question(root: Path, sources: Sequence[str], *, fresh: int) -> LiveQuestion:
    """Check what is asked and put it together; nothing is trained.

    Args:
        root: The sweep of the past; it is only read.
        sources: Of the new tasks, as in a sweep's ``tasks``.
        fresh: So many draws of the space are candidates beside the configs on record.

    Returns:
        The question.

    Raises:
        InputError: The root, a task or a number can't be used.
        NothingLearnedError: No trial of the past has finished yet.
    """
    if fresh < 0:
        raise InputError(f"--fresh must be at least 0, got {fresh}")
    if is_tables(root):
        raise InputError(
            f"{root} holds tables of another origin, and says not how to finetune; name a sweep's root"
        )
    like = existing_spec(root)
    past = MetaDataset.from_root(root, reports=("eval_exact_match", *TESTS))
    _refuse_other_base(root, past, like)
    tasks = _new_tasks(root, past, like, sources)
    space = SearchSpace.from_spec(like.preset, like.space)
    configs = [past.configs[key] for key in sorted(past.configs)]
    foreign = [key for key in sorted(past.configs) if config_id(space.check(past.configs[key])) != key]
    if foreign:
        raise InputError(f"config {foreign[0]} of {root} is no config of its space as this release has it")
    drawn = space.sample(fresh + len(configs), seed=FRESH_SEED) if fresh else []
    configs += [config for config in drawn if config_id(config) not in past.configs][:fresh]
    return LiveQuestion(
        root=root,
        past=past,
        like=like,
        tasks=tasks,
        configs=tuple(configs),
        fresh=fresh,
        max_epochs=min(past.max_epochs, like.training_settings().horizon_epochs),
        unit_s=_unit_s(past),
    )


def _refuse_other_base(root: Path, past: MetaDataset, like: SweepSpec) -> None:
    here = locate(like.base_model).fingerprint
    if past.base_fingerprints != (here,):
        raise InputError(
            f"the trials of {root} ran on base model {', '.join(past.base_fingerprints)}, and "
            f"{like.base_model} is {here} here; put the old files back"
        )


def _new_tasks(
    root: Path, past: MetaDataset, like: SweepSpec, sources: Sequence[str]
) -> tuple[PlannedTask, ...]:
    planned = tuple(PlannedTask(source=source, task=load_task(source)) for source in sources)
    described = set(MetaDatasetReader(root).tasks()["task_id"])
    known = described | {task.task_id for task in past.tasks}
    swept = {entry.source for entry in like.tasks}
    for item in planned:
        if item.task.task_id in known or item.source in swept:
            raise InputError(
                f"{item.source} is a task of {root}: what was learned there knows it; name a new task, or "
                "leave --live out to replay"
            )
    ids = [item.task.task_id for item in planned]
    for place, item in enumerate(planned):
        if item.task.task_id in ids[:place]:
            raise InputError(f"--live {item.source} has the same rows as another task; name it once")
    return planned


def _unit_s(past: MetaDataset) -> float:
    """Return the median over past tasks of the median seconds of a full run there."""
    curves = dict(iter(past.points.groupby("trial_id")))
    medians = []
    barren = {task.task_id for task in past.barren_tasks()}
    for task in (task for task in past.tasks if task.task_id not in barren):
        trials = past.trials[past.trials["task_id"] == task.task_id]
        record = [
            recorded_curve(past, curves.get(row["trial_id"], past.points.iloc[:0]), row)
            for row in trials.to_dict(orient="records")
        ]
        medians.append(median_cost_s(record))
    if not medians:
        raise NothingLearnedError("no past trial worked: nothing tells what a full run costs")
    unit_s = float(np.median(medians))
    if not unit_s > 0:
        raise InputError("no past run has a cost above 0 s: budgets have no unit")
    return unit_s
