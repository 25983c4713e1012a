"""Replaying recorded curves: what a method would have found on a task that it has not seen, and when.

One task is left out; a method learns from the others, of the same meta-dataset or of another, and then asks
step by step while recorded curves answer; see ``loop`` for what happens to a step.
"""

import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from orchestrator.contracts import InputError, digest
from surrogates.data.tables import PastTask
from surrogates.evaluation.loop import Clock, Epoch, Incumbent, run_budgets, run_method
from surrogates.evaluation.record import median_cost_s, recorded_curve
from surrogates.metadataset import MetaDataset
from surrogates.stepwise import Method, Problem, Start


class Replay:
    """One task's recorded curves on a simulated clock; the first trial of a config stands for it.

    A step costs the recorded seconds of its new epochs. When the budget ends within it, the epochs done until
    then count. A failed config costs what it cost and is never the incumbent, not by its points before the
    failure either. A curve that ends early without a failure, as that of a trial that was stopped does, can't
    be continued: a step beyond its end brings the points that there are, and the word that it failed.

    Args:
        meta: Where they are recorded.
        task: Which task; one that is not barren.
    """

    def __init__(self, meta: MetaDataset, task: PastTask) -> None:
        self._meta, self._task = meta, task
        trials = meta.trials[meta.trials["task_id"] == task.task_id].drop_duplicates("config_id")
        points = meta.points[meta.points["trial_id"].isin(trials["trial_id"])].sort_values("epoch")
        curves = dict(iter(points.groupby("trial_id")))
        self.candidates = tuple(str(key) for key in trials["config_id"])
        """Ids of the configs recorded on the task."""
        self.curves = tuple(
            recorded_curve(meta, curves.get(row["trial_id"], points.iloc[:0]), row)
            for row in trials.to_dict(orient="records")
        )
        """In the order of the candidates."""
        self.median_cost_s = median_cost_s(self.curves)
        """The median over configs of a full run's seconds."""
        if not self.median_cost_s > 0:
            raise InputError(f"no run on {task.name} has a cost above 0 s: a clock can't be simulated there")

    def problem(self, budget_s: float) -> Problem:
        """Return what a method may know of the task."""
        return Problem(
            features=self._task.features,
            candidates=tuple(self._meta.configs[key] for key in self.candidates),
            budget_s=budget_s,
            max_epochs=self._meta.max_epochs,
            direction=self._meta.direction,
        )

    def run(
        self,
        start: Start,
        budget_s: float,
        *,
        untrained_loss: float = np.inf,
        clock: Clock = time.perf_counter,
    ) -> pd.DataFrame:
        """Run a method until the budget is gone on the training clock, or nothing is asked any more.

        Args:
            start: What the method has learned from other tasks.
            budget_s: Seconds of training and evaluation.
            untrained_loss: The loss before anything is trained; ``inf`` where not known.
            clock: Of the method's own seconds.

        Returns:
            One row before the first step, then one an epoch: step (from 1), candidate (a config's id), epoch,
            train_s and own_s (both since the start), loss of the incumbent (``inf`` while there is none), and
            the reports at the incumbent's point (NaN while there is none).

        Raises:
            InputError: The method asked for what can't be run.
        """
        untrained = self.untrained(untrained_loss)
        return run_method(start, self, budget_s, untrained=untrained, clock=clock)

    @property
    def reports(self) -> tuple[str, ...]:
        """Names of the further metrics on record."""
        return self._meta.reports

    def epochs(self, candidate: int, *, after: int, until: int, within_s: float) -> Iterator[Epoch]:
        """Return a candidate's recorded epochs; arguments as ``loop.Curves`` has them."""
        curve = self.curves[candidate]
        for at in np.flatnonzero((curve.epochs > after) & (curve.epochs <= until)):
            yield Epoch(
                epoch=int(curve.epochs[at]),
                value=float(curve.values[at]),
                loss=float(curve.losses[at]),
                cost_s=float(curve.cost_s[at]),
                reports=curve.reports[at],
            )

    def is_over(self, candidate: int, epochs: int) -> bool:
        """Return whether the record of a candidate ends before this epoch, or by failing in it."""
        curve = self.curves[candidate]
        last = int(curve.epochs[-1])
        return epochs > last or (curve.failed and epochs == last)

    def untrained(self, loss: float) -> Incumbent:
        """Return the base model with this loss, of which nothing else is known."""
        return Incumbent(loss=loss, reports=np.full(len(self.reports), np.nan))


def replay_task(
    method: Method,
    meta: MetaDataset,
    task: PastTask,
    *,
    budgets: Sequence[float],
    seed: int,
    past: MetaDataset | None = None,
    untrained_loss: float = np.inf,
    clock: Clock = time.perf_counter,
) -> pd.DataFrame:
    """Let a method learn from the other tasks, once, and run it on this one.

    Args:
        method: What is judged.
        meta: Where the task is recorded.
        task: The one that is replayed; not barren.
        budgets: Multiples of the task's median cost of a full run. A method whose steps do not depend on the
            budget is run at the largest only, since the others are read from it.
        seed: Of the method; see ``seed_on``.
        past: What is learned from, without the task where it is there; None: ``meta``.
        untrained_loss: The loss before anything is trained; ``inf`` where not known.
        clock: Of the method's own seconds.

    Returns:
        What ``Replay.run`` says, with method, task_id, seed and budget before it.

    Raises:
        InputError: The method asked for what can't be run.
    """
    played = Replay(meta, task)
    others = (meta if past is None else past).without([task.task_id])
    start = method.learn(others, seed=seed_on(task.task_id, seed))
    return run_budgets(
        method,
        start,
        played,
        unit_s=played.median_cost_s,
        budgets=budgets,
        task_id=task.task_id,
        seed=seed,
        untrained=played.untrained(untrained_loss),
        clock=clock,
    )


def seed_on(task_id: str, seed: int) -> int:
    """Return a method's seed on one task.

    It differs from task to task: an order drawn once for all tasks would be lucky or unlucky on all of them,
    and an interval over tasks would not know.
    """
    return int(digest([task_id, seed])[:7], 16)


def replay(
    method: Method,
    meta: MetaDataset,
    *,
    budgets: Sequence[float] = (1.0, 3.0, 10.0),
    seeds: Sequence[int] = (0,),
    untrained_losses: Mapping[str, float] | None = None,
    clock: Clock = time.perf_counter,
) -> pd.DataFrame:
    """Replay a method on every task in turn, the task itself left out of what it learns from.

    Args:
        method: What is judged.
        meta: At least two tasks; those on which no trial worked are left out.
        budgets: Multiples of each task's median cost of a full run.
        seeds: Of the method.
        untrained_losses: Task id to the loss before anything is trained, where known.
        clock: Of the method's own seconds.

    Returns:
        The rows of ``replay_task`` for all tasks and seeds.

    Raises:
        InputError: There are too few tasks, or the method asked for what can't be run.
    """
    known = untrained_losses or {}
    return pd.concat(
        [
            replay_task(
                method,
                meta,
                task,
                budgets=budgets,
                seed=seed,
                untrained_loss=known.get(task.task_id, np.inf),
                clock=clock,
            )
            for task in judged_tasks(meta)
            for seed in seeds
        ],
        ignore_index=True,
    )


def judged_tasks(meta: MetaDataset, *, least: int = 2) -> tuple[PastTask, ...]:
    """Return the tasks that can be replayed: those on which a trial worked.

    Args:
        meta: Any.
        least: How many there must be: two where each is left out of the others in turn, one where methods
            learn elsewhere.

    Returns:
        The tasks.

    Raises:
        InputError: They are fewer.
    """
    barren = {task.task_id for task in meta.barren_tasks()}
    judged = tuple(task for task in meta.tasks if task.task_id not in barren)
    if len(judged) >= least:
        return judged
    if least < 2:
        raise InputError("on none of its tasks did a trial work: nothing can be replayed")
    raise InputError(
        f"leaving one task out takes at least two tasks on which a trial worked, got {len(judged)}; add "
        "tasks to the sweep"
    )
