"""Asking the surrogate about a new task: the actor where one runs, this process where none does."""

import json
import logging
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cluster.connection import connected, is_connected
from orchestrator.app.peft_format import as_peft
from orchestrator.app.roots import learnable_spec, newest_root
from orchestrator.app.serving import Endpoint, endpoint_of
from orchestrator.app.spec import SweepSpec
from orchestrator.contracts import Config, InputError, TrainingSettings
from orchestrator.metadataset.reader import MetaDatasetReader
from surrogates.metadataset import MetaDataset
from surrogates.plan import Plan, Prediction
from surrogates.recommender import Recommender
from surrogates.serving.client import SurrogateClient
from workers.metafeatures import FeatureCache
from workers.models.base import BaseModel, load_base
from workers.space import SearchSpace
from workers.tasks.loading import load_task
from workers.tasks.records import Task

logger = logging.getLogger(__name__)

RUNS = Path("runs")
"""Where a sweep that nobody names is looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """A plan for a task, and who gave it."""

    plan: Plan
    task: Task
    base: BaseModel
    root: Path
    answered_by: str
    """``the surrogate actor at ADDRESS``, or ``this process``."""
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
        return origin | self.plan.as_dict()

    def as_peft(self) -> dict[str, Any]:
        """Return the first choice in the words of peft and transformers; see ``peft_format.as_peft``."""
        first = self.plan.choices[0]
        return as_peft(first.config, first.epochs, base=self.base, task=self.task, settings=self.settings)

    def render(self) -> RenderableType:
        """Return the plan as tables for people."""
        learned = self.plan.learned_from
        head = Text(
            f"For {self.task.name} on {self.base.name}, within {self.plan.budget_s:g} s: learned from "
            f"{learned.tasks} tasks, {learned.trials} trials, {learned.points} points in {self.root}; "
            f"answered by {self.answered_by}"
        )
        strangeness = self.plan.strangeness
        told = "can't be told" if strangeness is None else f"{strangeness:.2f} (up to 1 is usual)"
        notes = [
            Text(f"strangeness of the task: {told}"),
            *(Text(f"note: {note}") for note in self.plan.notes),
        ]
        return Group(head, self._choices(), self._evidence(), *notes)

    def _choices(self) -> Table:
        table = Table(box=None, padding=(0, 2), header_style="bold")
        table.add_column("#", justify="right")
        table.add_column("config", ratio=1)
        first = self.plan.choices[0]
        predicted = [first.score.metric, *(report.metric for report in first.reports)]
        for column in ("epochs", *predicted, "cost", "P(fail)"):
            table.add_column(column, justify="right", no_wrap=True)
        for choice in self.plan.choices:
            predictions = [_interval(item) for item in (choice.score, *choice.reports)]
            table.add_row(
                str(choice.rank),
                _brief(choice.config, self.default_config),
                str(choice.epochs),
                *predictions,
                f"{choice.cost_s:.1f} s",
                f"{choice.failure_probability:.2f}",
            )
        return table

    def _evidence(self) -> Table:
        table = Table(
            box=None, padding=(0, 2), header_style="bold", title="What this rests on", title_justify="left"
        )
        table.add_column("#", justify="right")
        for column in ("past task", "trial", "same config"):
            table.add_column(column)
        for column in ("outcome", "epoch", self.plan.choices[0].score.metric):
            table.add_column(column, justify="right")
        for choice in self.plan.choices:
            for trial in choice.evidence:
                table.add_row(
                    str(choice.rank),
                    trial.task_name,
                    trial.trial_id,
                    "yes" if trial.config_distance == 0 else f"no, {trial.config_distance:.2f} away",
                    trial.outcome,
                    "-" if trial.epoch is None else str(trial.epoch),
                    "-" if trial.value is None else f"{trial.value:.3f}",
                )
        return table


def _interval(prediction: Prediction) -> str:
    return f"{prediction.value:.2f} ({prediction.low:.2f}-{prediction.high:.2f})"


def _brief(config: Config, default: Config) -> str:
    """Return what of a config differs from the default."""
    names = sorted(config.keys() | default.keys())
    parts = [
        f"{name}={config[name]}" for name in names if name in config and config[name] != default.get(name)
    ]
    return ", ".join(parts) or "the default"


def recommend(task_source: str, budget_s: float, *, root: Path | None = None, k: int | None = None) -> Advice:
    """Ask how to finetune on a task.

    Args:
        task_source: As in a sweep's ``tasks``.
        budget_s: What may be spent, in seconds of training and evaluation as the sweep measured them.
        root: The sweep to learn from; None: the newest under ``runs``.
        k: At most so many choices; None: as many as are worth while.

    Returns:
        The advice.

    Raises:
        InputError: The task, the budget or the root can't be used.
        NothingLearnedError: The sweep has no finished trial yet.
    """
    task = load_task(task_source)
    shown = root or newest_root(RUNS)
    chosen = shown.absolute()
    spec = learnable_spec(chosen)
    base = load_base(spec.base_model, dtype=spec.training.compute_dtype)
    question = {
        "features": dict(_features(chosen, task, base, spec)),
        "budget_s": budget_s,
        "k": k,
        "task_id": task.task_id,
        "base_fingerprint": base.fingerprint,
    }
    plan, answered_by = _ask(chosen, question)
    return Advice(
        plan=plan,
        task=task,
        base=base,
        root=shown,
        answered_by=answered_by,
        settings=spec.training_settings(),
        default_config=SearchSpace.from_spec(spec.preset, spec.space).default(),
    )


def _features(root: Path, task: Task, base: BaseModel, spec: SweepSpec) -> Mapping[str, float]:
    """Return a task's meta-features: those on record, or kept on this machine, or measured now."""
    recorded = MetaDatasetReader(root).tasks()
    rows = recorded.loc[
        (recorded["task_id"] == task.task_id) & (recorded["base_fingerprint"] == base.fingerprint)
    ]
    for text in rows["meta_features"]:
        features: dict[str, float] = json.loads(text)
        return features
    return FeatureCache().measure(task, base, spec.training_settings())


def _ask(root: Path, question: Mapping[str, Any]) -> tuple[Plan, str]:
    """Ask the root's actor, if one runs; else learn here and now. The answer says who gave it."""
    endpoint = endpoint_of(root)
    with ExitStack() as connection:
        if endpoint is not None and (client := _find_actor(root, endpoint, connection)) is not None:
            return client.recommend(**question), f"the surrogate actor at {endpoint.address}"
    recommender = Recommender.fit(MetaDataset.from_root(root))
    return recommender.plan(**question), "this process (no surrogate actor runs for this sweep)"


def _find_actor(root: Path, endpoint: Endpoint, connection: ExitStack) -> SurrogateClient | None:
    """Connect to the actor of a root; None if it, or its cluster, is gone."""
    try:
        if not is_connected():
            connection.enter_context(connected(endpoint.address))
        return SurrogateClient.connect(root)
    except InputError as err:
        logger.info("surrogate actor not reached root=%s reason=%s", root, err)
        return None
