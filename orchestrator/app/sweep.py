"""Running a sweep: from a spec and a root to outcomes for all trials, begun or continued alike."""

import logging
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from rich.console import Console

from cluster.connection import connected
from cluster.nodes import WorkerSize
from orchestrator.app.adapters import AdapterKeeper
from orchestrator.app.driver import SweepDriver, TrialTerms
from orchestrator.app.history import past_of, planned_rows, points_on_record
from orchestrator.app.inputs import copy_tasks
from orchestrator.app.logs import driver_log
from orchestrator.app.own_process import OwnProcess
from orchestrator.app.plan import SweepPlan, plan_sweep
from orchestrator.app.pool import WorkerPool, WorkerTerms
from orchestrator.app.progress import ProgressDisplay
from orchestrator.app.roots import check_claim, claim
from orchestrator.app.sharing import gpus_of_a_worker
from orchestrator.app.signals import stop_signals
from orchestrator.app.spec import SweepSpec
from orchestrator.app.stopping import StopFile
from orchestrator.app.tally import Snapshot, Tally
from orchestrator.app.tune_rules import tune_rule
from orchestrator.app.workforce import Workforce
from orchestrator.contracts import DescribeTask, Trial
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.ledger import Ledger
from orchestrator.metadataset.mirror import Mirror, MirrorState
from orchestrator.metadataset.reader import MetaDatasetReader
from orchestrator.scheduling import Scheduler
from workers.judge import Judge

LAST_SYNC_S = 60.0
"""How long the end of a sweep waits for its mirror."""

TALLY_COLUMNS = ("trial_id", "task_id", "config_id", "epoch", "eval_loss", "eval_exact_match")

_Hire = Callable[[Callable[[], int]], AbstractContextManager[Workforce]]
"""From how many workers there is work for to the workers, for as long as the scope lasts."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepReport:
    """How a driver left a sweep."""

    root: Path
    is_done: bool
    """Whether every planned trial has its outcome; otherwise a resume continues."""
    snapshot: Snapshot
    is_spent: bool = False
    """Whether it was left because its budget was gone."""
    mirror: MirrorState | None = None
    """How far the mirror has come, where there is one."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left to do, neither trials nor files that the mirror lacks."""
        return self.is_done and (self.mirror is None or not self.mirror.behind_files)


def run_sweep(
    spec: SweepSpec,
    root: Path,
    *,
    address: str | None = None,
    console: Console | None = None,
    copies_tasks: bool = False,
    plan: SweepPlan | None = None,
    in_process: bool = False,
    budget_s: float | None = None,
) -> SweepReport:
    """Start a sweep in a root, or continue it.

    Args:
        spec: The checked spec.
        root: The sweep's folder; all workers must see it under this path.
        address: A running Ray cluster; None: an embedded one.
        console: Where progress is shown; None shows nothing.
        copies_tasks: Whether task files are copied into the root first, so that workers find them there.
        plan: What to run instead of what the spec lays out; its tasks are those to be described.
        in_process: Whether one worker trains in this process, without Ray, whatever ``address`` says.
        budget_s: Seconds of training and evaluation of the plan's trials, those on record counted, after
            which nothing more is begun and what runs is paused after the epoch in hand; None: no end.

    Returns:
        The report; not done if SIGINT, SIGTERM or the root's stop file asked to stop, or the budget is gone.

    Raises:
        InputError: The spec, a task, the base model, the root or the address can't be used.
        RootInUseError: Another driver writes to the root.
        StorageError: The root can't be written any more; what was acknowledged stands.
    """
    root = root.absolute()
    layout = RootLayout(root)
    if copies_tasks:
        spec = copy_tasks(spec, layout)
    check_claim(root, spec)
    plan = plan or plan_sweep(spec)
    claim(root, spec, plan.trials, plan.space.to_json())
    console = console or Console(quiet=True)
    hire: _Hire = (
        partial(_here, spec, layout) if in_process else partial(_on_cluster, spec, plan, layout, address)
    )
    with Ledger.open(root) as ledger, driver_log(layout):
        if spec.mirror is None:
            return _drive(spec, plan, layout, ledger, hire, console, mirror=None, budget_s=budget_s)
        mirror = Mirror.open(spec.mirror, layout)
        try:
            report = _drive(spec, plan, layout, ledger, hire, console, mirror=mirror, budget_s=budget_s)
        finally:
            state = mirror.close(LAST_SYNC_S)
        return replace(report, mirror=state)


def _drive(
    spec: SweepSpec,
    plan: SweepPlan,
    layout: RootLayout,
    ledger: Ledger,
    hire: _Hire,
    console: Console,
    *,
    mirror: Mirror | None,
    budget_s: float | None,
) -> SweepReport:
    runs_all = spec.scheduler.name == "fifo"
    past = past_of(plan.trials, ledger, runs_all=runs_all)
    tally = Tally(plan.trials)
    finished = [(trial, outcome) for trial in plan.trials if (outcome := past[trial.trial_id].outcome)]
    # A trial's epochs land in their order, which is all that the tally asks for.
    tally.recall(planned_rows(plan.trials, layout, TALLY_COLUMNS), finished)
    adapters = AdapterKeeper(layout.adapters_dir, keep=spec.keep_adapters, best_losses=tally.best_losses)
    for trial, outcome in finished:
        if not spec.keep_checkpoints:
            # What the last driver had no time to clear away.
            shutil.rmtree(layout.checkpoint_dir(trial.trial_id), ignore_errors=True)
        adapters.finished(trial, outcome)
    # First come, first served asks for no past; other rules must be brought to where they stood.
    history = () if runs_all else points_on_record(plan.trials, layout)
    scheduler = Scheduler(plan.trials, past=past, history=history, rule=tune_rule(spec.scheduler))
    to_describe = _to_describe(spec, plan, layout)
    if scheduler.is_done and not to_describe:
        ledger.publish()
        return SweepReport(root=layout.root, is_done=True, snapshot=tally.snapshot(running=0, workers=0))

    if spec.judge is not None:
        Judge(spec.judge.settings()).check()

    def is_spent() -> bool:
        return budget_s is not None and spent_s(ledger, plan.trials) >= budget_s

    def unfinished() -> int:
        counts = scheduler.counts()
        return max(len(plan.trials) - counts["finished"] - counts["standing_by"], len(to_describe), 1)

    with hire(unfinished) as pool:
        driver = SweepDriver(
            plan.trials,
            layout=layout,
            ledger=ledger,
            scheduler=scheduler,
            pool=pool,
            adapters=adapters,
            tally=tally,
            to_describe=to_describe,
            terms=TrialTerms(time_limit_s=spec.trial_timeout_s, keep_checkpoints=spec.keep_checkpoints),
            data_revisions=plan.data_revisions,
        )

        def snapshot() -> Snapshot:
            return tally.snapshot(running=scheduler.counts()["running"], workers=len(pool))

        def on_round() -> None:
            display.show(snapshot(), is_draining=driver.is_draining)
            if mirror is not None:
                mirror.notice()

        stop_file = StopFile(layout)
        with stop_signals() as stop, ProgressDisplay(console) as display:
            try:
                is_done = driver.run(
                    stop_requested=lambda: stop.is_set() or stop_file.is_there() or is_spent(),
                    hurry_requested=lambda: stop.at_once,
                    on_round=on_round,
                )
            finally:
                pool.close()
                stop_file.remove()
            display.show_last(snapshot())
    return SweepReport(
        root=layout.root, is_done=is_done, snapshot=snapshot(), is_spent=not is_done and is_spent()
    )


def spent_s(ledger: Ledger, trials: Iterable[Trial]) -> float:
    """Return the seconds of training and evaluation on record of some trials."""
    return sum(
        progress.train_s + progress.eval_s
        for progress in (ledger.progress(trial.trial_id) for trial in trials)
    )


@contextmanager
def _on_cluster(
    spec: SweepSpec, plan: SweepPlan, layout: RootLayout, address: str | None, wanted: Callable[[], int]
) -> Iterator[Workforce]:
    """Hire as many workers as a Ray cluster holds and the sweep can use."""
    with connected(address) as connection:
        gpus = gpus_of_a_worker(spec, plan)
        terms = _worker_terms(spec, gpus=gpus, is_embedded=connection.is_embedded)
        yield WorkerPool(str(layout.root), connection.address, terms, wanted=wanted)


@contextmanager
def _here(spec: SweepSpec, layout: RootLayout, _wanted: Callable[[], int]) -> Iterator[Workforce]:
    """Hire one worker in this process."""
    yield OwnProcess(layout.root, is_rehearsal=spec.is_rehearsal)


def _worker_terms(spec: SweepSpec, *, gpus: float, is_embedded: bool) -> WorkerTerms:
    entry = spec.workers
    return WorkerTerms(
        size=WorkerSize(cpus=entry.cpus, gpus=gpus),
        most=entry.max_count,
        is_rehearsal=spec.is_rehearsal,
        heartbeat_s=entry.heartbeat_s,
        stalled_after_s=entry.stalled_after_s,
        start_s=0.0 if is_embedded else entry.start_timeout_s,
        judge=None if spec.judge is None else spec.judge.settings(),
    )


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
