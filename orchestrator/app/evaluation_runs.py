"""Running the replays of a comparison: those that are missing, here or in further processes."""

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from orchestrator.app.evaluation_cells import Cells
from orchestrator.app.evaluation_ground import Ground
from orchestrator.contracts import InputError, NothingLearnedError
from surrogates.data.normalisation import to_loss
from surrogates.evaluation.replay import replay_task
from surrogates.metadataset import MetaDataset
from surrogates.stepwise import Method

Say = Callable[[str], None]
"""Takes a line about what was done."""
Cell = tuple[str, int]
"""A task's id and a seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Player:
    """Replays methods on every task with every seed."""

    ground: Ground
    budgets: Sequence[float]
    seeds: Sequence[int]
    cells: Cells
    say: Say
    pool: Executor | None
    """Of processes that ``processes`` started; None: this process runs everything."""
    notes: list[str] = field(default_factory=list)
    """Which methods are left out, and why."""

    def play(self, methods: Sequence[Method]) -> list[pd.DataFrame]:
        """Replay methods one after the other.

        Args:
            methods: One that can't learn from these curves is left out and noted.

        Returns:
            Trajectories, one frame a method.
        """
        played = []
        for method in methods:
            begun = time.monotonic()
            try:
                rows, kept = self._play_one(method)
            except (InputError, NothingLearnedError) as err:
                self.notes.append(f"{method.name} is left out: {err}")
                self.say(self.notes[-1])
                continue
            played.append(rows)
            count = len(self.ground.tasks) * len(self.seeds)
            done_before = f", {kept} of them done before" if kept else ""
            self.say(f"{method.name}: {count} replays in {time.monotonic() - begun:.1f} s{done_before}")
        return played

    def _play_one(self, method: Method) -> tuple[pd.DataFrame, int]:
        """Return a method's trajectories, and how many of its replays had been kept."""
        wanted = [(task.task_id, seed) for task in self.ground.tasks for seed in self.seeds]
        found = {cell: rows for cell in wanted if (rows := self.cells.read(method, *cell)) is not None}
        kept = len(found)
        for cell, rows in self._run(method, [cell for cell in wanted if cell not in found]):
            self.cells.keep(method, *cell, rows)
            found[cell] = rows
        return pd.concat([found[cell] for cell in wanted], ignore_index=True), kept

    def _run(self, method: Method, cells: Sequence[Cell]) -> Iterator[tuple[Cell, pd.DataFrame]]:
        if self.pool is None:
            for cell in cells:
                yield cell, _replay_cell(self.ground, self.budgets, method, *cell)
            return
        running = {self.pool.submit(_replay_taken, method, *cell): cell for cell in cells}
        try:
            for done in as_completed(running):
                yield running[done], done.result()
        finally:
            for left in running:
                left.cancel()


@contextmanager
def processes(jobs: int, ground: Ground, budgets: Sequence[float]) -> Iterator[Executor | None]:
    """Start the processes of a comparison, and end them with it.

    Args:
        jobs: How many, from 1; with 1 none is started.
        ground: Handed to each of them once.
        budgets: Multiples of a task's median cost of a full run.

    Yields:
        What runs replays there; None with one job.
    """
    if jobs == 1:
        yield None
        return
    with ProcessPoolExecutor(
        jobs,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_take,
        initargs=(ground, budgets),
    ) as pool:
        yield pool


def _untrained_loss(meta: MetaDataset, task_id: str) -> float:
    """Return the base model's own loss on a task where the meta-features tell it; ``inf`` where not.

    A sweep's workers measure ``zero_shot_loss`` as they measure ``eval_loss``, on the same examples.
    """
    (task,) = (task for task in meta.tasks if task.task_id == task_id)
    value = float(task.features.get(f"zero_shot_{meta.metric.removeprefix('eval_')}", np.nan))
    return float(to_loss(np.array(value), meta.direction)) if np.isfinite(value) else np.inf


def _replay_cell(
    ground: Ground, budgets: Sequence[float], method: Method, task_id: str, seed: int
) -> pd.DataFrame:
    (task,) = (task for task in ground.tasks if task.task_id == task_id)
    return replay_task(
        method,
        ground.tested,
        task,
        budgets=budgets,
        seed=seed,
        past=ground.past,
        untrained_loss=_untrained_loss(ground.tested, task_id),
    )


_taken: list[tuple[Ground, Sequence[float]]] = []
"""What a process of the pool replays; it is handed over once, not with every cell."""


def _take(ground: Ground, budgets: Sequence[float]) -> None:
    _taken[:] = [(ground, budgets)]


def _replay_taken(method: Method, task_id: str, seed: int) -> pd.DataFrame:
    return _replay_cell(*_taken[0], method, task_id, seed)
