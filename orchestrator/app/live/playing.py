"""Running the cells of a live comparison on one task: those that are missing, one method after the other."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from orchestrator.app.evaluation_cells import Cells, settings
from orchestrator.app.live.clock import OwnClock
from orchestrator.app.live.curves import LiveCurves
from orchestrator.app.live.question import LiveQuestion
from orchestrator.app.live.trials import LiveTrials, open_trials
from orchestrator.app.live.untrained import untrained_incumbent, untrained_metrics
from orchestrator.app.plan import PlannedTask
from orchestrator.contracts import InputError, NothingLearnedError, config_id, digest
from orchestrator.metadataset.durable import make_folder_durably
from surrogates.evaluation.loop import run_budgets
from surrogates.evaluation.replay import seed_on
from surrogates.stepwise import Method
from workers.training.control import PackTrainer

Say = Callable[[str], None]
"""Takes a line about what was done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRuns:
    """All runs of a live comparison, and where what comes of them lies."""

    question: LiveQuestion
    methods: tuple[Method, ...]
    budgets: tuple[float, ...]
    """Multiples of the question's unit, rising."""
    seeds: int
    shares: bool
    """Whether a config that several methods ask for is trained once; each is charged its seconds in full."""
    out: Path

    def cells(self, planned: PlannedTask) -> Cells:
        """Return where finished runs on a task are kept."""
        question = self.question
        more = [
            question.folder(planned),
            question.max_epochs,
            question.unit_s,
            [config_id(config) for config in question.configs],
            self.shares,
        ]
        return Cells(self.out / "cells", question.past, self.budgets, more=more)

    def missing(self, planned: PlannedTask) -> list[tuple[Method, int]]:
        """Return methods and seeds of the runs on a task that are not finished."""
        cells, task_id = self.cells(planned), planned.task.task_id
        return [
            (method, seed)
            for method in self.methods
            for seed in range(self.seeds)
            if cells.read(method, task_id, seed) is None
        ]

    def trials_folder(self, planned: PlannedTask) -> Path:
        """Return the root of a task's trials; with methods that share nothing, the folder of their roots."""
        return self.out / "trials" / self.question.folder(planned)

    def roots(self, planned: PlannedTask) -> list[Path]:
        """Return the roots in which trials of a task were trained."""
        folder = self.trials_folder(planned)
        found = [folder] if self.shares else sorted((folder / "alone").glob("*"))
        return [root for root in found if root.is_dir()]

    def untrained(self, planned: PlannedTask) -> dict[str, float]:
        """Return what the base model makes of a task as it is."""
        folder = self.trials_folder(planned)
        make_folder_durably(folder)
        return untrained_metrics(folder / "untrained.json", self.question, planned)


def play_task(runs: LiveRuns, planned: PlannedTask, say: Say) -> list[str]:
    """Run what is missing on one task.

    Args:
        runs: Of the comparison.
        planned: The task.
        say: Called with a line a run.

    Returns:
        A sentence for each method that can't learn from the past, and is left out.

    Raises:
        InputError: The task, a config or the folder can't be used.
        RootInUseError: Another process compares on this task.
        SweepInterruptedError: What is measured can't be saved.
    """
    cells, notes = runs.cells(planned), []
    name, task_id = runs.question.names()[planned.task.task_id], planned.task.task_id
    left_out: set[str] = set()
    with ExitStack() as held:
        shared: LiveTrials | None = None
        for method, seed in runs.missing(planned):
            if method.name in left_out:
                continue
            begun = time.monotonic()
            try:
                start = method.learn(runs.question.past.without([task_id]), seed=seed_on(task_id, seed))
            except (InputError, NothingLearnedError) as err:
                left_out.add(method.name)
                notes.append(f"{method.name} is left out: {err}")
                say(notes[-1])
                continue
            learned_s = time.monotonic() - begun
            with ExitStack() as own:
                if runs.shares:
                    shared = shared or held.enter_context(_opened(runs, planned, runs.trials_folder(planned)))
                    trials = shared
                else:
                    alone = runs.trials_folder(planned) / "alone" / digest([settings(method), seed])
                    trials = own.enter_context(_opened(runs, planned, alone))
                before = trials.trained_epochs
                rows = run_budgets(
                    method,
                    start,
                    LiveCurves(runs.question.past, trials, runs.question.configs, runs.question.max_epochs),
                    unit_s=runs.question.unit_s,
                    budgets=runs.budgets,
                    task_id=task_id,
                    seed=seed,
                    untrained=untrained_incumbent(runs.untrained(planned), runs.question),
                    clock=OwnClock(),
                )
                trained = trials.trained_epochs - before
            cells.keep(method, task_id, seed, rows)
            say(_line(name, method.name, seed, rows, trained, learned_s))
    return notes


def _opened(runs: LiveRuns, planned: PlannedTask, folder: Path) -> AbstractContextManager[LiveTrials]:
    return open_trials(
        folder,
        planned.source,
        runs.question.configs,
        like=runs.question.like,
        epochs=runs.question.max_epochs,
        make_trainer=_rehearsal if runs.question.like.is_rehearsal else _resident,
    )


def _rehearsal(root: Path) -> PackTrainer:
    from workers.rehearsal import RehearsalTrainer

    return RehearsalTrainer(root)


def _resident(root: Path) -> PackTrainer:
    from workers.resident import resident_trainer

    return resident_trainer(root)


def _line(name: str, method: str, seed: int, rows: pd.DataFrame, trained: int, learned_s: float) -> str:
    last = rows.iloc[-1]
    asked = int((rows["step"] > 0).sum())
    return (
        f"{name}, seed {seed}: {method}: test loss {last['test_loss']:.4g} after {last['train_s']:.1f} s; "
        f"{asked} epochs asked for, {trained} of them trained now; learned in {learned_s:.1f} s"
    )


def tasks_to_play(runs: LiveRuns) -> Sequence[PlannedTask]:
    """Return the tasks on which a run is missing."""
    return [planned for planned in runs.question.tasks if runs.missing(planned)]
