"""The trials of one task of a live comparison: trained as far as they are asked for, every epoch once.

What is measured lies in a ledger, so that whatever is killed, a trial goes on from its last epoch, and a
method that asks for what another has trained is given those rows, with their seconds.
"""

import logging
import os
import platform
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from orchestrator.app.finetune import finetuning_spec
from orchestrator.app.live.control import LiveControl, Row
from orchestrator.app.plan import SweepPlan, plan_sweep
from orchestrator.app.recorder import ReportRecorder
from orchestrator.app.roots import revise
from orchestrator.app.spec import SweepSpec
from orchestrator.contracts import (
    Config,
    ConfigId,
    DescribeTask,
    Lease,
    Outcome,
    SweepInterruptedError,
    Trial,
    TrialEnded,
    TrialId,
    WorkerId,
)
from orchestrator.metadataset.durable import write_durably
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.ledger import Ledger
from orchestrator.metadataset.reader import MetaDatasetReader
from surrogates.data.tables import FAILURES, PastTask, root_seconds, root_tasks
from workers.software import software
from workers.training.control import PackTrainer

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How a trial ended that can't be trained any further."""

    epochs: int
    """On record; it ended in the epoch after them."""
    is_failure: bool
    """Whether the config does not work; otherwise its time was over, and what it measured counts."""
    cost_s: float
    """Of that last epoch."""


@dataclass(slots=True)
class LiveTrials:
    """The trials of a task, one a config; made by ``open_trials``."""

    plan: SweepPlan
    spec: SweepSpec
    layout: RootLayout
    ledger: Ledger
    recorder: ReportRecorder
    trainer: PackTrainer
    worker_id: WorkerId
    task: PastTask
    """With its meta-features."""
    on_cpu: bool
    trained_epochs: int = 0
    """Since it was opened."""
    _trials: dict[ConfigId, Trial] = field(init=False)
    _rows: dict[TrialId, list[Row]] = field(init=False, default_factory=dict)
    _ends: dict[TrialId, End] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._trials = {trial.config_id: trial for trial in self.plan.trials}
        reader = MetaDatasetReader(self.layout.root)
        results = {str(row["trial_id"]): row for row in reader.trials().to_dict("records")}
        for raw in reader.curves().to_dict("records"):
            row = {str(name): value for name, value in raw.items()}
            self._rows.setdefault(TrialId(row["trial_id"]), []).append(row)
        for name, result in results.items():
            spent_s = float(result["train_s"]) + float(result["eval_s"])
            self._take_end(TrialId(name), Outcome(result["outcome"]), spent_s)

    def seconds(self, row: Row) -> float:
        """Return what an epoch is charged: the rule by which past epochs are."""
        return float(root_seconds(pd.DataFrame([row]), [self.task]).iloc[0])

    def rows(self, config: ConfigId, *, after: int, until: int, within_s: float) -> Iterator[Row]:
        """Return a trial's epochs, trained where they have not been.

        Args:
            config: Whose trial.
            after: The epoch before the first one.
            until: The last one; fewer come where the trial ends.
            within_s: Seconds of these epochs after which none follows.

        Yields:
            Rows of the curves.

        Raises:
            SweepInterruptedError: The trial can't be saved.
        """
        trial, spent_s = self._trials[config], 0.0
        for epoch in range(after + 1, until + 1):
            if spent_s >= within_s:
                return
            if len(self._rows.get(trial.trial_id, ())) < epoch and trial.trial_id not in self._ends:
                self._train(trial, until, within_s - spent_s)
            known = self._rows.get(trial.trial_id, [])
            if len(known) < epoch:
                return
            spent_s += self.seconds(known[epoch - 1])
            yield known[epoch - 1]

    def end(self, config: ConfigId) -> End | None:
        """Return how a config's trial ended, as far as is known; None where it can go on."""
        return self._ends.get(self._trials[config].trial_id)

    def finish(self) -> None:
        """Give every trial that was begun its outcome, and make the root that of a sweep of these trials."""
        begun = [trial for trial in self.plan.trials if self.ledger.progress(trial.trial_id).attempt >= 0]
        if not begun:
            return
        for trial in begun:
            progress = self.ledger.progress(trial.trial_id)
            if progress.outcome is None:
                ended = TrialEnded(
                    trial_id=trial.trial_id,
                    attempt=progress.attempt,
                    outcome=Outcome.STOPPED,
                    epochs=progress.epochs,
                    unreported_train_s=0.0,
                    peak_memory_bytes=0,
                    device="",
                    error="no method asked for more",
                )
                self.ledger.record_result(self.recorder.result_of(ended, self.worker_id))
        self.ledger.commit()
        self.ledger.publish()
        epochs = tuple(max(1, self.ledger.progress(trial.trial_id).epochs) for trial in begun)
        spec = finetuning_spec(
            self.plan.tasks[0].source,
            tuple(dict(trial.config) for trial in begun),
            like=self.spec,
            epochs=max(epochs),
            config_epochs=epochs,
            keep_adapters=0,
        ).model_copy(update={"keep_checkpoints": True})
        write_durably(self.layout.space_json, self.plan.space.to_json().encode())
        revise(self.layout, spec, plan_sweep(spec).trials)

    def _train(self, trial: Trial, until: int, within_s: float) -> None:
        progress = self.ledger.progress(trial.trial_id)
        attempt = self.ledger.grant(trial.trial_id, self.worker_id, reopen=progress.outcome is not None)
        self.ledger.commit()
        lease = Lease(
            trial=trial,
            attempt=attempt,
            run_until_epoch=until,
            committed_epochs=progress.epochs,
            keep_adapter=False,
            spent_s=progress.train_s + progress.eval_s,
            time_limit_s=self.spec.trial_timeout_s,
        )
        control = LiveControl(
            ledger=self.ledger,
            recorder=self.recorder,
            worker_id=self.worker_id,
            until=until,
            within_s=within_s,
            seconds=self.seconds,
            on_cpu=self.on_cpu,
        )
        self.trainer.train([lease], control)
        self._rows.setdefault(trial.trial_id, []).extend(control.rows)
        self.trained_epochs += len(control.rows)
        if control.ended is None:
            return
        if not control.ended.outcome.is_final:
            raise SweepInterruptedError(
                f"{self.layout.root} can't be written any more ({control.ended.error}); mend that, and the "
                "same command goes on"
            )
        self.trainer.release(trial.trial_id, attempt)
        spent = self.ledger.progress(trial.trial_id)
        total_s = spent.train_s + spent.eval_s + control.ended.unreported_train_s
        self._take_end(trial.trial_id, control.ended.outcome, total_s)

    def _take_end(self, trial_id: TrialId, outcome: Outcome, total_s: float) -> None:
        """Take note of an outcome after which a trial can't go on."""
        if outcome.is_success:
            return
        rows = self._rows.get(trial_id, [])
        known_s = sum(row["train_s"] + row["eval_s"] for row in rows)
        is_failure = outcome in FAILURES or outcome is Outcome.FAILED
        if outcome is Outcome.FAILED:
            logger.warning("live trial failed by an error of ours trial=%s", trial_id)
        end = End(epochs=len(rows), is_failure=is_failure, cost_s=max(total_s - known_s, 0.0))
        self._ends[trial_id] = end


@contextmanager
def open_trials(
    folder: Path,
    source: str,
    configs: Sequence[Config],
    *,
    like: SweepSpec,
    epochs: int,
    make_trainer: Callable[[Path], PackTrainer],
) -> Iterator[LiveTrials]:
    """Open the trials of a task, those of an earlier run included.

    Args:
        folder: Their root.
        source: As in a sweep's ``tasks``.
        configs: What can be asked for, each once.
        like: The sweep whose base model, space, seed and settings are used.
        epochs: The most that can be asked for.
        make_trainer: From the root to what trains, in this thread.

    Yields:
        The trials.

    Raises:
        InputError: The task, a config or the folder can't be used.
        RootInUseError: Another process trains there.
    """
    spec = finetuning_spec(source, tuple(configs), like=like, epochs=epochs, keep_adapters=0)
    plan = plan_sweep(spec)
    trainer = make_trainer(folder)
    trainer.prepare()
    worker_id = WorkerId(f"live-{secrets.token_hex(4)}")
    with Ledger.open(folder) as ledger:
        recorder = ReportRecorder(
            ledger,
            {trial.trial_id: trial for trial in plan.trials},
            data_revisions=plan.data_revisions,
        )
        recorder.meet(worker_id, _description(worker_id, trainer))
        trials = LiveTrials(
            plan=plan,
            spec=like,
            layout=RootLayout(folder),
            ledger=ledger,
            recorder=recorder,
            trainer=trainer,
            worker_id=worker_id,
            task=_described(plan, like, ledger, folder, trainer),
            on_cpu=trainer.facts().get("device") == "cpu",
        )
        yield trials
        trials.finish()


def _description(worker_id: WorkerId, trainer: PackTrainer) -> Mapping[str, str]:
    found = {"worker": worker_id, "host": platform.node(), "pid": str(os.getpid())}
    return found | dict(software()) | dict(trainer.facts())


def _described(
    plan: SweepPlan, like: SweepSpec, ledger: Ledger, folder: Path, trainer: PackTrainer
) -> PastTask:
    """Return the task with its meta-features, measured where they are not on record."""
    (planned,) = plan.tasks
    reader = MetaDatasetReader(folder)
    if planned.task.task_id not in set(reader.tasks()["task_id"]):
        command = DescribeTask(
            task_id=planned.task.task_id,
            source=planned.source,
            name=planned.task.name,
            base_model=like.base_model,
            settings=like.training_settings(),
        )
        ledger.record_task(trainer.describe(command))
        ledger.commit()
        ledger.publish()
    (found,) = (
        task for task in root_tasks(reader.tasks(), reader.trials()) if task.task_id == planned.task.task_id
    )
    return found
