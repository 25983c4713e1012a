"""The live comparison: every method finetunes on new tasks, under the same budgets and clocks.

What is measured and what is finished lies under the output folder, so that the same command goes on after
any interruption.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from orchestrator.app.evaluate import SURE, Protocol
from orchestrator.app.evaluation_methods import chosen_methods
from orchestrator.app.evaluation_report import (
    NO_PICTURES,
    can_draw,
    write_parquet,
    write_pictures,
    write_results,
)
from orchestrator.app.evaluation_tables import counted
from orchestrator.app.live.playing import LiveRuns, Say, play_task, tasks_to_play
from orchestrator.app.live.processes import play_apart
from orchestrator.app.live.question import TESTS, LiveQuestion, live_question
from orchestrator.app.live.results import LiveComparison, LiveTask
from orchestrator.app.plan import PlannedTask
from orchestrator.contracts import InputError, NothingLearnedError
from orchestrator.metadataset.durable import make_folder_durably
from orchestrator.metadataset.reader import MetaDatasetReader
from surrogates.data.tables import root_seconds, root_tasks
from surrogates.evaluation.ours import OURS
from surrogates.evaluation.outcomes import TEST_LOSS, measure_outcomes, summarise_outcomes
from surrogates.evaluation.statistics import smallest_p

METHODS = (
    "transfer-only",
    "zero-shot",
    "default",
    "random",
    "ASHA",
    "HyperBand",
    "DEHB",
    "TPE",
    "average rank",
    "nearest task",
    "cost-aware portfolio",
    "Quick-Tune refit",
    "Quick-Tune condition",
    "Quick-Tune transfer",
)
"""Compared where none are named: live, every further one costs its budgets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveProtocol:
    """How methods are compared live."""

    how: Protocol
    """Budgets, seeds, methods, clock and processes, as in a replay."""
    fresh: int = 0
    """So many draws of the space are candidates beside the configs on record."""
    shares: bool = True
    """Whether a config that several methods ask for is trained once; each is charged its seconds in full."""

    def __post_init__(self) -> None:
        if self.how.ablations:
            raise InputError("--ablations compares replays; leave out --live, or --ablations")


def compare_live(
    root: Path,
    sources: Sequence[str],
    *,
    protocol: LiveProtocol,
    out: Path | None = None,
    say: Say = lambda line: None,
) -> LiveComparison:
    """Compare methods on tasks that a sweep does not know, by finetuning.

    Args:
        root: The sweep that methods learn from; it is only read.
        sources: The new tasks, as in a sweep's ``tasks``.
        protocol: How.
        out: Where everything goes; None: ``live`` under ``root``.
        say: Called with a line a run as it is done.

    Returns:
        The results; they have been written.

    Raises:
        InputError: A task, the root, a method or the folder can't be used.
        NothingLearnedError: No trial of the past has finished yet, or no method can learn from it.
        RootInUseError: Another process compares in the same folder.
        SweepInterruptedError: A process died, or what is measured can't be saved.
    """
    how = protocol.how
    methods, _ = chosen_methods(how.methods or METHODS)
    question = live_question(root, sources, fresh=protocol.fresh)
    runs = LiveRuns(
        question=question,
        methods=tuple(methods),
        budgets=tuple(sorted(how.budgets)),
        seeds=how.seeds,
        shares=protocol.shares,
        out=(out or root / "live").absolute(),
    )
    _make(runs.out)
    waiting = tasks_to_play(runs)
    if how.jobs > 1 and len(waiting) > 1:
        found = play_apart(runs, waiting, how.jobs, say)
    else:
        found = [note for planned in waiting for note in play_task(runs, planned, say)]
    trajectories = _trajectories(runs)
    notes = list(dict.fromkeys(found)) + _remarks(runs, trajectories)
    if trajectories.empty:
        raise NothingLearnedError("no method could learn from these curves: " + "; ".join(notes))
    results = _results(runs, how.own_time, trajectories, notes)
    _write(results, runs, trajectories)
    return results


def _make(folder: Path) -> None:
    try:
        make_folder_durably(folder)
    except OSError as err:
        raise InputError(f"--out {folder} can't be written: {err.strerror}; name another folder") from err


def _trajectories(runs: LiveRuns) -> pd.DataFrame:
    """Return the rows of the methods that were run on every task with every seed."""
    whole = []
    for method in runs.methods:
        rows = [
            runs.cells(planned).read(method, planned.task.task_id, seed)
            for planned in runs.question.tasks
            for seed in range(runs.seeds)
        ]
        kept = [frame for frame in rows if frame is not None]
        if len(kept) == len(rows):
            whole += kept
    return pd.concat(whole, ignore_index=True) if whole else pd.DataFrame({"method": []})


def _remarks(runs: LiveRuns, trajectories: pd.DataFrame) -> list[str]:
    names = set(trajectories["method"])
    tasks, others = len(runs.question.tasks), len(names) - 1
    least = smallest_p(tasks) * others
    notes = []
    if OURS in names and least > SURE:
        notes.append(
            f"with {counted(tasks, 'task')} and {counted(others, 'comparison')} no corrected p can be below "
            f"{min(least, 1.0):.2g}: more tasks, or fewer --methods, would tell more"
        )
    if not can_draw():
        notes.append(NO_PICTURES)
    return notes


def _results(
    runs: LiveRuns, own_time: bool, trajectories: pd.DataFrame, notes: Sequence[str]
) -> LiveComparison:
    question = runs.question
    return LiveComparison(
        path=question.root,
        out=runs.out,
        metric=question.past.metric,
        tests=TESTS,
        budgets=runs.budgets,
        unit_s=question.unit_s,
        seeds=runs.seeds,
        own_time=own_time,
        shares=runs.shares,
        candidates=len(question.configs),
        fresh=question.fresh,
        trials=len(question.past.trials),
        past_tasks=len(question.past.tasks),
        tasks=tuple(_task(runs, planned) for planned in question.tasks),
        methods={
            clock: summarise_outcomes(_measured(runs, trajectories, own_time=clock), TESTS)
            for clock in (True, False)
        },
        notes=tuple(notes),
    )


def _measured(runs: LiveRuns, trajectories: pd.DataFrame, *, own_time: bool) -> pd.DataFrame:
    untrained = {
        str(planned.task.task_id): runs.untrained(planned)[TEST_LOSS] for planned in runs.question.tasks
    }
    units_s = _units_s(runs.question)
    return measure_outcomes(trajectories, units_s, untrained, runs.budgets, reports=TESTS, own_time=own_time)


def _units_s(question: LiveQuestion) -> dict[str, float]:
    return {planned.task.task_id: question.unit_s for planned in question.tasks}


def _task(runs: LiveRuns, planned: PlannedTask) -> LiveTask:
    configs, epochs, seconds = set[str](), 0, 0.0
    for root in runs.roots(planned):
        reader = MetaDatasetReader(root)
        curves = reader.curves()
        configs |= set(curves["config_id"])
        epochs += len(curves)
        seconds += float(root_seconds(curves, root_tasks(reader.tasks(), reader.trials())).sum())
    untrained = runs.untrained(planned)
    return LiveTask(
        task_id=planned.task.task_id,
        name=runs.question.names()[planned.task.task_id],
        source=planned.source,
        untrained={name: untrained[name] for name in TESTS},
        trained_configs=len(configs),
        trained_epochs=epochs,
        trained_s=seconds,
    )


def _write(results: LiveComparison, runs: LiveRuns, trajectories: pd.DataFrame) -> None:
    write_parquet(results.out / "trajectories.parquet", trajectories)
    measured = [
        _measured(runs, trajectories, own_time=clock).assign(own_time=clock) for clock in (True, False)
    ]
    write_parquet(results.out / "measures.parquet", pd.concat(measured, ignore_index=True))
    if can_draw():
        from orchestrator.app.evaluation_plots import draw_ranks, draw_test_loss

        losses = draw_test_loss(
            trajectories, _units_s(runs.question), runs.budgets, own_time=results.own_time
        )
        write_pictures(
            results.out, {"test-loss": losses, "ranks": draw_ranks(results.methods[results.own_time])}
        )
    write_results(results)
