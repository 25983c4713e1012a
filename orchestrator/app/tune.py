"""Running a recommended plan on the cluster, to the best adapter within a budget.

A plan is taken once and kept: whoever gives the same command again continues it, whatever was killed and
whatever the surrogate has learned since. All that is measured goes through the ledger of a small sweep, so
nothing is trained twice, and the seconds spent are those on record.
"""

import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich.console import Console

from orchestrator.app.changes import adopt, spec_change
from orchestrator.app.finetune import finetuning_spec
from orchestrator.app.roots import planned_trials
from orchestrator.app.spec import SweepSpec
from orchestrator.app.sweep import run_sweep
from orchestrator.app.tuning_plan import StoredPlan, Target, TuningLayout, phases
from orchestrator.app.tuning_report import TuneReport, tune_report
from orchestrator.contracts import ConfigId, InputError, Outcome, config_id
from orchestrator.metadataset.durable import sync_folder
from orchestrator.metadataset.layout import RootLayout, aside
from orchestrator.metadataset.reader import MetaDatasetReader
from workers.tasks.loading import load_task

logger = logging.getLogger(__name__)


def tune(
    task_source: str,
    budget_s: float,
    *,
    root: Path | None = None,
    out: Path | None = None,
    address: str | None = None,
    workers: int | None = None,
    replan: bool = False,
    console: Console | None = None,
) -> TuneReport:
    """Run the plan that the surrogate recommends for a task, or go on with it, and keep the best adapter.

    Args:
        task_source: As in a sweep's ``tasks``.
        budget_s: Seconds of training and evaluation of all trials together, as ``recommend`` counts them.
        root: The sweep to learn from; None: the one the plan was taken from, or the newest under ``runs``.
        out: The folder of plan, sweep and best adapter; None: ``runs/tune/NAME`` after the task.
        address: A running Ray cluster, whose nodes see ``out`` under its path; None: an embedded one.
        workers: At most so many trials at a time; None: as the sweep that was learned from.
        replan: Whether to ask anew; what is on record stays and counts.
        console: Where progress is shown; None shows nothing.

    Returns:
        The report; not done if a stop was asked for.

    Raises:
        InputError: The task, the budget, a folder or the address can't be used, or the folder holds the plan
            of another question.
        NothingLearnedError: The sweep has no finished trial yet.
        RootInUseError: Another driver runs this plan.
    """
    task = load_task(task_source)
    layout = TuningLayout((out or Path("runs") / "tune" / task.name).absolute())
    stored = StoredPlan.read(layout)
    if stored is not None and not replan:
        _refuse_other_question(stored, layout, task.task_id, budget_s, root)
    else:
        from orchestrator.app.advice import recommend  # loads torch, which going on needs not

        source = root if root is not None or stored is None else stored.root
        stored = StoredPlan.of(recommend(task_source, budget_s, root=source), task_source)
        stored.write(layout)
    run = _Run(stored=stored, layout=layout, address=address, workers=workers, console=console)
    is_done = run.to_the_end()
    adapter = _publish_best(layout)
    return tune_report(stored, layout, spent_s=spent_s(layout.sweep), is_done=is_done, adapter=adapter)


def _refuse_other_question(
    stored: StoredPlan, layout: TuningLayout, task_id: str, budget_s: float, root: Path | None
) -> None:
    differing = []
    if stored.task_id != task_id:
        differing.append(f"other rows of {stored.task_name}")
    if stored.budget_s != budget_s:
        differing.append(f"a budget of {stored.budget_s:g} s and not {budget_s:g} s")
    if root is not None and root.absolute() != stored.root:
        differing.append(f"what was learned from {stored.root}")
    if differing:
        raise InputError(
            f"{layout.out} holds a plan for {' and '.join(differing)}; name another --out, or say --replan "
            "to plan anew there (what was trained stays, and its seconds count)"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """A plan at work."""

    stored: StoredPlan
    layout: TuningLayout
    address: str | None
    workers: int | None
    console: Console | None

    def to_the_end(self) -> bool:
        """Run what is left of the plan, as far as the budget goes; return whether nothing is left to do."""
        for targets in phases(self.stored.plan.choices):
            record = on_record(self.layout.sweep)
            if all(_is_reached(target, record.get(config_id(target.config))) for target in targets):
                continue
            if spent_s(self.layout.sweep) >= self.stored.budget_s:
                return self._close()
            is_done, is_spent = self._sweep(targets, is_limited=True)
            if is_spent:
                return self._close()
            if not is_done:
                return False
        return True

    def _close(self) -> bool:
        """End the trials that were begun where they stand, so that their adapters are there too."""
        logger.info("budget gone out=%s", self.layout.out)
        record = on_record(self.layout.sweep)
        begun = [
            Target(config=target.config, epochs=max(1, record[config_id(target.config)].epochs))
            for target in phases(self.stored.plan.choices)[-1]
            if config_id(target.config) in record
        ]
        is_ended = all(_is_reached(target, record.get(config_id(target.config))) for target in begun)
        if is_ended and len(planned_trials(self.layout.sweep)) == len(begun):
            return True
        is_done, _ = self._sweep(begun, is_limited=False)
        return is_done

    def _sweep(self, targets: Sequence[Target], *, is_limited: bool) -> tuple[bool, bool]:
        """Train configs as far as they are to go; return whether that is done, and whether the budget is."""
        spec, root = self._spec(targets), self.layout.sweep
        plan = None
        if RootLayout(root).sweep_yaml.is_file():
            change = spec_change(root, spec)
            if not change.is_empty:
                adopt(change)
            plan = change.plan
        elsewhere_s = spent_s(root, besides={config_id(target.config) for target in targets})
        report = run_sweep(
            spec,
            root,
            address=self.address,
            console=self.console,
            plan=plan,
            budget_s=self.stored.budget_s - elsewhere_s if is_limited else None,
        )
        return report.is_done, report.is_spent

    def _spec(self, targets: Sequence[Target]) -> SweepSpec:
        spec = finetuning_spec(
            self.stored.task_source,
            tuple(target.config for target in targets),
            like=self.stored.like,
            epochs=self.stored.like.training_settings().horizon_epochs,
            config_epochs=tuple(target.epochs for target in targets),
            keep_adapters=1,
        )
        last = phases(self.stored.plan.choices)[-1]
        further = {config_id(target.config): target.epochs for target in last}
        goes_on = any(target.epochs < further[config_id(target.config)] for target in targets)
        workers = spec.workers
        if self.workers is not None:
            workers = workers.model_copy(update={"max_count": self.workers})
        return spec.model_copy(update={"keep_checkpoints": goes_on, "workers": workers})


@dataclass(frozen=True, slots=True, kw_only=True)
class _OnRecord:
    """How far a config has come."""

    epochs: int
    finished_epochs: int | None
    """Epochs when it got its outcome; None without one."""
    outcome: Outcome | None


def on_record(root: Path) -> dict[ConfigId, _OnRecord]:
    """Return how far the configs of a small sweep have come; those not begun are left out."""
    reader = MetaDatasetReader(root)
    trials = reader.trials()
    epochs = reader.curves(columns=["config_id", "epoch"]).groupby("config_id")["epoch"].max()
    found = {
        ConfigId(str(key)): _OnRecord(epochs=int(epoch), finished_epochs=None, outcome=None)
        for key, epoch in epochs.items()
    }
    for row in trials.itertuples(index=False):
        key = ConfigId(str(row.config_id))
        rows = found[key].epochs if key in found else 0
        found[key] = _OnRecord(
            epochs=rows, finished_epochs=int(str(row.epochs)), outcome=Outcome(str(row.outcome))
        )
    return found


def _is_reached(target: Target, record: _OnRecord | None) -> bool:
    """Return whether a config has its outcome, and no more epochs are asked of it."""
    if record is None or record.outcome is None or record.finished_epochs is None:
        return False
    if record.epochs > record.finished_epochs:
        return False
    return not record.outcome.is_success or record.epochs >= target.epochs


def spent_s(root: Path, *, besides: set[ConfigId] | None = None) -> float:
    """Return the seconds of training and evaluation on record.

    Args:
        root: The small sweep's folder; need not exist.
        besides: Configs that are left out.

    Returns:
        Seconds, those of epochs that left no row included.
    """
    reader = MetaDatasetReader(root)
    trials = reader.trials()[["config_id", "train_s", "eval_s"]]
    curves = reader.curves(columns=["config_id", "train_s", "eval_s"])
    totals = pd.concat([trials.groupby("config_id").sum(), curves.groupby("config_id").sum()])
    by_config = totals.sum(axis=1).groupby(level=0).max()
    return float(sum(cost_s for key, cost_s in by_config.items() if key not in (besides or ())))


def _publish_best(layout: TuningLayout) -> Path | None:
    """Put the adapter with the lowest validation loss where it is looked for; None if there is none."""
    adapters = RootLayout(layout.sweep).adapters_dir
    losses = MetaDatasetReader(layout.sweep).curves(columns=["trial_id", "eval_loss"])
    ranked = losses.groupby("trial_id")["eval_loss"].min().sort_values(kind="stable")
    best = next((adapters / str(key) for key in ranked.index if (adapters / str(key)).is_dir()), None)
    if best is None:
        return None
    new, old = aside(layout.best_adapter), layout.out / ".best-adapter.old"
    for leftover in (new, old):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        shutil.copytree(best, new)
        if layout.best_adapter.exists():
            os.rename(layout.best_adapter, old)
        os.rename(new, layout.best_adapter)
        sync_folder(layout.out)
    except OSError as err:
        raise InputError(
            f"{layout.best_adapter} can't be written: {err}; the adapter lies in {best}"
        ) from err
    shutil.rmtree(old, ignore_errors=True)
    return layout.best_adapter
