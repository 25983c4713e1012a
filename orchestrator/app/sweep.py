"""Running a sweep: from a spec and a root to outcomes for all trials, begun or continued alike."""

import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from rich.console import Console

from cluster.connection import connected, slots
from orchestrator.app.adapters import AdapterKeeper
from orchestrator.app.driver import SweepDriver
from orchestrator.app.plan import SweepPlan, plan_sweep
from orchestrator.app.pool import WorkerPool
from orchestrator.app.progress import ProgressDisplay
from orchestrator.app.roots import check_claim, claim
from orchestrator.app.signals import stop_signals
from orchestrator.app.spec import SweepSpec
from orchestrator.app.tally import Point, Snapshot, Tally
from orchestrator.contracts import DescribeTask, TrialId
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.ledger import Ledger
from orchestrator.metadataset.reader import MetaDatasetReader
from orchestrator.scheduling import Past, Scheduler

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepReport:
    """How a driver left a sweep."""

    root: Path
    is_done: bool
    """Whether every planned trial has its outcome; otherwise a resume continues."""
    snapshot: Snapshot


def run_sweep(
    spec: SweepSpec, root: Path, *, address: str | None = None, console: Console | None = None
) -> SweepReport:
    """Start a sweep in a root, or continue it.

    Args:
        spec: The checked spec.
        root: The sweep's folder; all workers must see it under this path.
        address: A running Ray cluster; None: an embedded one.
        console: Where progress is shown; None shows nothing.

    Returns:
        The report; not done if SIGINT or SIGTERM asked to stop.

    Raises:
        InputError: The spec, a task, the base model, the root or the address can't be used.
        RootInUseError: Another driver writes to the root.
    """
    root = root.absolute()
    check_claim(root, spec)
    plan = plan_sweep(spec)
    layout = claim(root, spec, plan.trials, plan.space.to_json())
    with Ledger.open(root) as ledger:
        return _drive(spec, plan, layout, ledger, address, console or Console(quiet=True))


def _drive(
    spec: SweepSpec,
    plan: SweepPlan,
    layout: RootLayout,
    ledger: Ledger,
    address: str | None,
    console: Console,
) -> SweepReport:
    past = _past(plan, ledger)
    tally = Tally(plan.trials)
    finished = [(trial, outcome) for trial in plan.trials if (outcome := past[trial.trial_id].outcome)]
    tally.recall(_points_on_record(plan, layout), finished)
    adapters = AdapterKeeper(layout.adapters_dir, keep=spec.keep_adapters, best_losses=tally.best_losses)
    for trial, outcome in finished:
        # What the last driver had no time to clear away.
        shutil.rmtree(layout.checkpoint_dir(trial.trial_id), ignore_errors=True)
        adapters.finished(trial, outcome)
    scheduler = Scheduler(plan.trials, past=past)
    to_describe = _to_describe(spec, plan, layout)

    def snapshot() -> Snapshot:
        return tally.snapshot(running=scheduler.counts()["running"], workers=len(pool) if pool else 0)

    pool: WorkerPool | None = None
    if scheduler.is_done and not to_describe:
        ledger.publish()
        return SweepReport(root=layout.root, is_done=True, snapshot=snapshot())
    with connected(address) as connection:
        fitting = slots(connection, cpus_per_worker=spec.workers.cpus, gpus_per_worker=spec.workers.gpus)
        unfinished = sum(scheduler.counts()[state] for state in ("pending", "leased", "running"))
        count = max(1, min(fitting, spec.workers.max_count or fitting, max(unfinished, len(to_describe))))
        pool = WorkerPool(str(layout.root), count=count, cpus=spec.workers.cpus, gpus=spec.workers.gpus)
        driver = SweepDriver(
            plan.trials,
            layout=layout,
            ledger=ledger,
            scheduler=scheduler,
            pool=pool,
            adapters=adapters,
            tally=tally,
            to_describe=to_describe,
        )
        with stop_signals() as stop, ProgressDisplay(console) as display:
            try:
                is_done = driver.run(stop_requested=stop.is_set, on_round=lambda: display.show(snapshot()))
            finally:
                pool.close()
            display.show_last(snapshot())
    return SweepReport(root=layout.root, is_done=is_done, snapshot=snapshot())


def _past(plan: SweepPlan, ledger: Ledger) -> dict[TrialId, Past]:
    past: dict[TrialId, Past] = {}
    for trial in plan.trials:
        progress = ledger.progress(trial.trial_id)
        past[trial.trial_id] = Past(
            epochs=progress.epochs, last_attempt=progress.attempt, outcome=progress.outcome
        )
    return past


def _points_on_record(plan: SweepPlan, layout: RootLayout) -> Iterator[Point]:
    """Yield the curve rows of planned trials; opening the ledger has published all of them."""
    planned = {trial.trial_id for trial in plan.trials}
    columns = ["trial_id", "task_id", "config_id", "epoch", "eval_loss", "eval_exact_match"]
    curves = MetaDatasetReader(layout.root).curves(columns=columns).sort_values(["trial_id", "epoch"])
    for row in curves.itertuples(index=False):
        point = cast(Point, row)
        if point.trial_id in planned:
            yield point


def _to_describe(spec: SweepSpec, plan: SweepPlan, layout: RootLayout) -> list[DescribeTask]:
    known = set(MetaDatasetReader(layout.root).tasks()["task_id"])
    return [
        DescribeTask(
            task_id=planned.task.task_id,
            source=planned.source,
            name=planned.task.name,
            base_model=spec.base_model,
            settings=spec.training_settings(),
        )
        for planned in plan.tasks
        if planned.task.task_id not in known
    ]
