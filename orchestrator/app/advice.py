"""Asking the surrogate about a new task: the actor where one runs, this process where none does.

A task that is not on record is measured in another process meanwhile: torch and a base model take longer to
load than all that is needed to answer. So that process is begun first, and what is heavy is imported behind
it.
"""

import json
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from orchestrator.app.advice_view import render_plan
from orchestrator.app.constraints import Constraints, fitting, for_device, of_no_machine
from orchestrator.app.published import PublishedDefaults, is_other_base, published_defaults
from orchestrator.app.roots import learnable_spec, newest_root
from orchestrator.app.shipped import is_shipped, shipped_root
from orchestrator.contracts import Config, InputError, TrainingSettings
from orchestrator.metadataset.layout import RootLayout
from surrogates.plan import Plan
from workers.metafeatures.aside import measuring_aside
from workers.models.location import EMBEDDED, ModelLocation, locate
from workers.space import SearchSpace
from workers.standby import Standby
from workers.tasks.loading import load_task
from workers.tasks.records import Task

if TYPE_CHECKING:
    from orchestrator.app.askers import Asker
    from surrogates.serving.questions import Answer

RUNS = Path("runs")
"""Where a sweep that nobody names is looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """A plan for a task, and who gave it."""

    plan: Plan
    task: Task
    base: ModelLocation
    """Files of the base model that was asked about."""
    root: Path
    answered_by: str
    """``the surrogate actor at ADDRESS``, or ``this process``; and which state of it."""
    settings: TrainingSettings
    """Of the sweep that was learned from; epochs and costs are counted in them."""
    default_config: Config

    def as_dict(self) -> dict[str, Any]:
        """Return the plan and where it comes from as JSON-like values."""
        origin = {
            "task": self.task.name,
            "task_id": self.task.task_id,
            "base_model": self.base.name,
            "root": str(self.root),
            "answered_by": self.answered_by,
        }
        return origin | _content(self.plan)

    def as_peft(self) -> dict[str, Any]:
        """Return the best choice in the words of peft and transformers; see ``peft_format.as_peft``."""
        from orchestrator.app.peft_format import as_peft

        best = self.plan.best
        return as_peft(best.config, best.epochs, base=self.base, task=self.task, settings=self.settings)

    def render(self) -> RenderableType:
        """Return the plan as tables for people."""
        head = f"For {self.task.name} on {self.base.name}"
        return render_plan(
            _head(head, self.plan, self.root, self.answered_by), self.plan, self.default_config
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TableAdvice:
    """A plan learned from tables of another origin, for a task that is known by its meta-features alone."""

    plan: Plan
    root: Path
    answered_by: str
    default_config: Config

    def as_dict(self) -> dict[str, Any]:
        """Return the plan and where it comes from as JSON-like values."""
        return {"root": str(self.root), "answered_by": self.answered_by} | _content(self.plan)

    def render(self) -> RenderableType:
        """Return the plan as tables for people."""
        head = _head("For the given meta-features", self.plan, self.root, self.answered_by)
        return render_plan(head, self.plan, self.default_config)


def recommend(
    task_source: str,
    budget_s: float,
    *,
    root: Path | None = None,
    k: int | None = None,
    constraints: Constraints | None = None,
    standby: Standby | None = None,
) -> Advice:
    """Ask how to finetune on a task.

    Args:
        task_source: As in a sweep's ``tasks``.
        budget_s: What may be spent, in seconds of training and evaluation as the sweep measured them.
        root: The sweep to learn from; None: the newest under ``runs``, or the one that ships where there is
            none.
        k: At most so many choices; None: as many as are worth while.
        constraints: Further demands; their device's seconds are the budget's.
        standby: A process that measures, begun before; None: one is begun where it is needed.

    Returns:
        The advice, for the base model of that sweep.

    Raises:
        InputError: The task, the budget, the root or a demand can't be used.
        NothingLearnedError: The sweep has no finished trial yet.
        MeasuringFailedError: The process that measured the task died.
    """
    demands = constraints or Constraints()
    task = load_task(task_source)
    shown = _asked_root(root)
    chosen = shown.absolute()
    _refuse_tables(shown)
    spec = learnable_spec(chosen)
    settings = spec.training_settings()
    base = locate(spec.base_model)
    notes = _usual_notes(chosen, base)
    with ExitStack() as running:
        measured = running.enter_context(measuring_aside(task_source, spec.base_model, settings, standby))

        from orchestrator.app.askers import find_asker
        from surrogates.serving.questions import question

        recorded = _recorded_features(chosen, task, base)
        asker = find_asker(chosen, running)
        asked = question(
            of_no_machine(measured(), demands) if recorded is None else recorded,
            budget_s * demands.speed_factor,
            k=k,
            task_id=task.task_id,
            base_fingerprint=base.fingerprint,
            fixed=demands.fixed,
            excluded=demands.excluded,
        )
        if demands.gpu_memory_bytes is not None:
            from workers.models.base import load_base

            pool = asker.candidates()
            kept = fitting(
                pool,
                gpu_memory_bytes=demands.gpu_memory_bytes,
                task=task,
                base=load_base(spec.base_model, dtype=settings.compute_dtype),
                settings=settings,
            )
            asked["candidates"] = [dict(config) for config in kept]
            if len(kept) < len(pool):
                notes.append(
                    f"{len(pool) - len(kept)} of {len(pool)} configs do not fit into the GPU's memory"
                )
        answer = asker.ask(asked)
        answered_by = _by(asker, answer)
    plan = replace(answer.plan, notes=(*answer.plan.notes, *notes))
    return Advice(
        plan=for_device(plan, demands, _recorded_devices(chosen)),
        task=task,
        base=base,
        root=shown,
        answered_by=answered_by,
        settings=settings,
        default_config=SearchSpace.from_spec(spec.preset, spec.space).default(),
    )


def defaults_for_other_base(
    task_source: str, base_model: str, *, root: Path | None = None
) -> PublishedDefaults | None:
    """Return what there is to say of a base model that the sweep at hand did not finetune.

    Args:
        task_source: As in a sweep's ``tasks``.
        base_model: The base model that will be finetuned.
        root: As ``recommend`` takes it.

    Returns:
        The published defaults, and why there is no more; None where the sweep finetuned that very model.

    Raises:
        InputError: The task, the root or the base model can't be used.
    """
    task, shown = load_task(task_source), _asked_root(root)
    learned_on = learnable_spec(shown.absolute()).base_model
    if not is_other_base(base_model, learned_on):
        return None
    return published_defaults(task, base_model, learned_on=learned_on, root=shown)


def recommend_by_features(
    features: Path,
    budget_s: float,
    *,
    root: Path,
    k: int | None = None,
    constraints: Constraints | None = None,
) -> TableAdvice:
    """Ask what to run on a task that tables of another origin would describe by these meta-features.

    Args:
        features: A JSON file: one object of numbers by name.
        budget_s: What may be spent, in the seconds of the tables.
        root: The folder of tables, or a sweep.
        k: At most so many choices; None: as many as are worth while.
        constraints: Further demands; memory can't be told without a base model.

    Returns:
        The advice.

    Raises:
        InputError: The file, the budget, the root or a demand can't be used.
        NothingLearnedError: There is no finished trial yet.
    """
    demands = constraints or Constraints()
    if demands.gpu_memory_bytes is not None:
        raise InputError("--gpu-memory needs a TASK and its base model; with --features leave it out")
    from orchestrator.app.askers import find_asker
    from surrogates.serving.questions import question

    asked = question(
        _read_features(features),
        budget_s * demands.speed_factor,
        k=k,
        fixed=demands.fixed,
        excluded=demands.excluded,
    )
    chosen = root.absolute()
    with ExitStack() as connection:
        asker = find_asker(chosen, connection)
        answer = asker.ask(asked)
    return TableAdvice(
        plan=for_device(answer.plan, demands, []),
        root=root,
        answered_by=_by(asker, answer),
        default_config={},
    )


def _by(asker: "Asker", answer: "Answer") -> str:
    if answer.version == 0:
        return asker.name
    return f"{asker.name} (version {answer.version}, learned {answer.learned_at})"


def _content(plan: Plan) -> dict[str, Any]:
    """Return a plan as JSON-like values, with which of its choices to run if only one is run."""
    return {"best_rank": plan.best.rank} | plan.as_dict()


def _head(what: str, plan: Plan, root: Path, answered_by: str) -> str:
    learned = plan.learned_from
    return (
        f"{what}, within {plan.budget_s:g} s: learned from {learned.tasks} tasks, {learned.trials} trials, "
        f"{learned.points} points in {root}; answered by {answered_by}"
    )


def _read_features(path: Path) -> dict[str, float]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as err:
        raise InputError(f"--features {path} can't be read as JSON: {err}") from err
    if not isinstance(content, dict):
        raise InputError(f"--features {path} must hold one object of numbers by name")
    wrong = [name for name, value in content.items() if not isinstance(value, int | float | None)]
    if wrong:
        raise InputError(f"--features {path}: {', '.join(wrong)} is no number; give null where not measured")
    return {name: float(value) for name, value in content.items() if value is not None}


def _asked_root(root: Path | None) -> Path:
    return root or newest_root(RUNS) or shipped_root()


def _usual_notes(root: Path, base: ModelLocation) -> list[str]:
    """Return what has to be said of the embedded model's meta-dataset, whoever asks."""
    if not is_shipped(root) or base.name != EMBEDDED:
        return []
    return [
        f"this is the meta-dataset that ships with Foretune, all of it finetuning of {EMBEDDED}: no advice "
        "for another model; name yours with --base-model"
    ]


def _refuse_tables(root: Path) -> None:
    if RootLayout(root).sweep_yaml.is_file():
        return
    from surrogates.data.store import is_tables

    if is_tables(root):
        raise InputError(
            f"{root} holds tables of another origin, which know tasks by their meta-features; give those "
            "with --features FILE.json instead of TASK"
        )


def _recorded_features(root: Path, task: Task, base: ModelLocation) -> dict[str, float] | None:
    """Return a task's meta-features as a sweep measured them; None where it did not."""
    from orchestrator.metadataset.reader import MetaDatasetReader

    recorded = MetaDatasetReader(root).tasks()
    rows = recorded.loc[
        (recorded["task_id"] == task.task_id) & (recorded["base_fingerprint"] == base.fingerprint)
    ]
    for text in rows["meta_features"]:
        return {name: float(value) for name, value in json.loads(text).items() if value is not None}
    return None


def _recorded_devices(root: Path) -> list[str]:
    from orchestrator.metadataset.reader import MetaDatasetReader

    curves = MetaDatasetReader(root).curves(columns=["device"])
    return sorted(curves["device"].dropna().unique())
