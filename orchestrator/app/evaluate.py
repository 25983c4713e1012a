"""Every method on the same recorded curves and clocks: one task left out in turn, or another root's tasks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from orchestrator.app.evaluation_cells import Cells, fingerprint
from orchestrator.app.evaluation_ground import Ground, read_ground
from orchestrator.app.evaluation_methods import chosen_methods
from orchestrator.app.evaluation_report import NO_PICTURES, can_draw, write_report
from orchestrator.app.evaluation_results import Evaluation
from orchestrator.app.evaluation_runs import Player, Say, processes
from orchestrator.app.evaluation_tables import counted
from orchestrator.contracts import InputError, NothingLearnedError
from surrogates.evaluation.ablations import ablations
from surrogates.evaluation.ours import OURS
from surrogates.evaluation.regret import TaskRulers, measure, metric_on_test, rulers
from surrogates.evaluation.replay import Replay
from surrogates.evaluation.statistics import smallest_p
from surrogates.evaluation.summary import MethodSummary, summarise
from surrogates.metadataset import MetaDataset

MOST_JOBS = 2
SURE = 0.05
"""A p that is usually called significant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """How methods are compared."""

    budgets: tuple[float, ...] = (1.0, 3.0, 10.0)
    """Multiples of each task's median cost of a full run."""
    seeds: int = 3
    methods: tuple[str, ...] = ()
    """Their names; none: all that can run here."""
    ablations: bool = False
    own_time: bool = True
    """Whether what is printed counts the methods' own seconds; both clocks are written."""
    jobs: int = 1
    """Processes."""

    def __post_init__(self) -> None:
        problems = []
        if not self.budgets or not all(np.isfinite(budget) and budget > 0 for budget in self.budgets):
            problems.append(f"budgets must be above 0, such as 1,3,10; got {self.budgets}")
        if len(set(self.budgets)) < len(self.budgets):
            problems.append(f"budgets must differ, got {self.budgets}")
        if self.seeds < 1:
            problems.append(f"seeds must be at least 1, got {self.seeds}")
        if not 1 <= self.jobs <= MOST_JOBS:
            problems.append(f"jobs must be from 1 to {MOST_JOBS}, got {self.jobs}")
        if problems:
            raise InputError(*problems)


def evaluate(
    path: Path,
    *,
    on: Path | None = None,
    metric: str | None = None,
    protocol: Protocol | None = None,
    out: Path | None = None,
    say: Say = lambda line: None,
) -> Evaluation:
    """Compare methods on a sweep's root or on a folder of tables.

    Replays that are finished are kept under ``out``; the same comparison, asked for again after an
    interruption or with more methods, runs what is missing.

    Args:
        path: The root or the folder to learn from.
        on: Another whose tasks are replayed, each left out of what is learned where it is there; None: the
            tasks of ``path``, each left out in turn.
        metric: What decides; None: ``eval_loss`` of a root, and what the tables say.
        protocol: How; None: the default.
        out: Where results go; None: ``evaluation`` under ``path``, ``transfer`` under ``on``.
        say: Called with a line a method as it is done.

    Returns:
        The results; they have been written.

    Raises:
        InputError: A path, the metric or the protocol can't be used, or the two can't be compared.
        NothingLearnedError: No trial has finished yet.
    """
    how = protocol or Protocol()
    methods, notes = chosen_methods(how.methods)
    ground = read_ground(path, on, metric)
    meta, tasks = ground.tested, ground.tasks
    folder = out or (path / "evaluation" if on is None else on / "transfer")
    budgets = sorted(how.budgets)
    with processes(how.jobs, ground, budgets) as pool:
        player = Player(
            ground=ground,
            budgets=budgets,
            seeds=range(how.seeds),
            cells=_cells(folder, ground, budgets),
            say=say,
            pool=pool,
        )
        trajectories = player.play(methods)
        parts = player.play(ablations(ground.fewest_learned + 1)) if how.ablations else []
    notes += [*ground.notes, *player.notes, *_warnings(len(tasks), len(trajectories))]
    if not trajectories:
        raise NothingLearnedError("no method could learn from these curves: " + "; ".join(notes))
    measured_by = {task.task_id: rulers(meta, Replay(meta, task)) for task in tasks}
    compared = pd.concat(trajectories, ignore_index=True)
    whole = [rows for rows in trajectories if rows["method"].iloc[0] == OURS]
    results = Evaluation(
        path=path,
        out=folder,
        metric=meta.metric,
        direction=meta.direction.value,
        test_metric=metric_on_test(meta),
        budgets=tuple(budgets),
        seeds=how.seeds,
        own_time=how.own_time,
        tasks=tuple(task.name for task in tasks),
        trials=len(meta.trials),
        points=len(meta.points),
        elsewhere=ground.elsewhere,
        methods=_both_clocks(compared, meta, measured_by, budgets),
        ablations=_both_clocks(pd.concat([*whole, *parts], ignore_index=True), meta, measured_by, budgets)
        if parts
        else {},
        notes=tuple(notes),
    )
    write_report(results, compared, parts, meta, measured_by)
    return results


def _cells(folder: Path, ground: Ground, budgets: Sequence[float]) -> Cells:
    """Return where replays are kept; those of a comparison elsewhere depend on what was learned, too."""
    more = [] if ground.elsewhere is None else [fingerprint(ground.past)]
    return Cells(folder / "cells", ground.tested, budgets, more=more)


def _warnings(tasks: int, methods: int) -> list[str]:
    """Return what so many tasks and methods can't tell, and what can't be drawn."""
    warnings = []
    least = smallest_p(tasks) * (methods - 1)
    if least > SURE:
        warnings.append(
            f"with {counted(tasks, 'task')} and {counted(methods - 1, 'comparison')} no corrected p can be "
            f"below {min(least, 1.0):.2g}: more tasks, or fewer --methods, would tell more"
        )
    if not can_draw():
        warnings.append(NO_PICTURES)
    return warnings


def _both_clocks(
    trajectories: pd.DataFrame,
    meta: MetaDataset,
    measured_by: dict[str, TaskRulers],
    budgets: Sequence[float],
) -> dict[bool, tuple[MethodSummary, ...]]:
    return {
        own_time: summarise(measure(trajectories, meta, measured_by, budgets, own_time=own_time))
        for own_time in (True, False)
    }
