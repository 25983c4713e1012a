"""Replaying recorded curves: what a chooser would have found on a task that it has not seen.

| symbol | meaning |
|---|---|
| best | lowest loss on the task's recorded curves |
| median | the median over its trials of the lowest loss that each reached |
| regret | (loss of the incumbent − best) / (median − best): 0 the best on record, 1 the median config |
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from orchestrator.contracts import Config
from surrogates.data.encoding import ConfigEncoder
from surrogates.data.normalisation import Array, median_gap, to_loss
from surrogates.data.score_table import build_table
from surrogates.data.tables import PastTask
from surrogates.metadataset import MetaDataset
from surrogates.recommender import Recommender

MOST_REGRET = 10.0
"""Regret before anything has worked, and cap on any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The task left out, as a chooser may know it."""

    features: Mapping[str, float]
    candidates: tuple[str, ...]
    """Ids of the configs recorded on it."""
    configs: Mapping[str, Config]
    budget_s: float


Chooser = Callable[[MetaDataset, Target], Sequence[tuple[str, int]]]
"""From the other tasks and a target to config ids with epochs, in the order in which to run them."""


def normalised_regret(loss: float, best: float, gap: float) -> float:
    """Return a loss's gap to the best, as a multiple of the median's.

    Args:
        loss: Loss of the incumbent; ``inf`` while there is none.
        best: Lowest loss on record.
        gap: Median loss minus the lowest, positive.

    Returns:
        In [0, 10]; 0 where the incumbent is the best on record.
    """
    return float(np.clip((loss - best) / gap, 0.0, MOST_REGRET))


def leave_one_task_out(
    meta: MetaDataset, chooser: Chooser, budgets: Sequence[float], *, most: int | None = None
) -> pd.DataFrame:
    """Replay a chooser on every task in turn, the task itself left out of what it learns from.

    Args:
        meta: At least two tasks.
        chooser: What is judged.
        budgets: Multiples of the task's median cost of a full run.
        most: Run at most so many of its choices; None: as many as the budget holds.

    Returns:
        One row a task and budget: task_id, budget, budget_s, runs, regret.
    """
    rows = []
    for task in meta.tasks:
        others, replay = meta.without([task.task_id]), Replay(meta, task)
        for budget in budgets:
            budget_s = budget * replay.median_cost_s
            chosen = chooser(others, replay.target(budget_s))[:most]
            losses = replay.run(chosen, budget_s)
            loss = min(losses, default=np.inf)
            rows.append(
                {
                    "task_id": task.task_id,
                    "budget": budget,
                    "budget_s": budget_s,
                    "runs": len(losses),
                    "regret": normalised_regret(loss, replay.best, replay.gap),
                }
            )
    return pd.DataFrame(rows)


class Replay:
    """One task's recorded curves on a simulated clock; the first trial of a config stands for it.

    Args:
        meta: Where they are recorded.
        task: Which task.
    """

    def __init__(self, meta: MetaDataset, task: PastTask) -> None:
        self._meta, self._task = meta, task
        trials = meta.trials[meta.trials["task_id"] == task.task_id].drop_duplicates("config_id")
        points = meta.points.merge(trials[["trial_id", "config_id", "is_failure"]], on="trial_id")
        losses = to_loss(points["value"].to_numpy(float), meta.direction)
        points["loss"] = np.where(points["is_failure"], np.inf, losses)
        self._curves = {
            str(config): (curve["loss"].to_numpy(float), curve["cost_s"].to_numpy(float))
            for config, curve in points.sort_values("epoch").groupby("config_id")
        }
        self._lone_cost_s = dict(zip(trials["config_id"], trials["cost_s"].astype(float), strict=True))
        finals: Array = np.array([losses.min() for losses, _ in self._curves.values()])
        self.best = float(finals.min())
        self.gap = median_gap(finals, self.best)
        self.median_cost_s = float(trials.loc[~trials["is_failure"], "cost_s"].median())

    def target(self, budget_s: float) -> Target:
        """Return what a chooser may know of the task."""
        return Target(
            features=self._task.features,
            candidates=tuple(self._lone_cost_s),
            configs={key: self._meta.configs[key] for key in self._lone_cost_s},
            budget_s=budget_s,
        )

    def run(self, chosen: Sequence[tuple[str, int]], budget_s: float) -> list[float]:
        """Run choices one after the other until the budget is gone.

        Args:
            chosen: Config ids with epochs.
            budget_s: Seconds on the recorded clock.

        Returns:
            The lowest loss of every run that got somewhere; the last one as far as the budget went.
        """
        left, losses = budget_s, []
        for config, epochs in chosen:
            if config not in self._curves:  # failed before its first epoch
                left -= self._lone_cost_s[config]
                continue
            curve, cost_s = self._curves[config]
            clock = np.cumsum(cost_s[:epochs])
            done = int(np.searchsorted(clock, left * (1 + 1e-12), side="right"))
            if done:
                losses.append(float(curve[:done].min()))
            left -= float(clock[-1])
            if left <= 0:
                break
        return losses


Fitted = dict[tuple[str, ...], Recommender]
"""Recommenders by the ids of the tasks they learned from, of one meta-dataset."""


def plan_chooser(*, seed: int = 0, k: int | None = None, fitted: Fitted | None = None) -> Chooser:
    """Return the chooser that asks a recommender fitted on the other tasks.

    Args:
        seed: Of the fits.
        k: At most so many choices; None: as many as the budget holds.
        fitted: Where fits are kept; choosers that share it fit once.

    Returns:
        The chooser.
    """
    known: Fitted = {} if fitted is None else fitted

    def choose(others: MetaDataset, target: Target) -> list[tuple[str, int]]:
        """Plan with the target's recorded configs as candidates."""
        key = tuple(task.task_id for task in others.tasks)
        if key not in known:
            known[key] = Recommender.fit(others, seed=seed)
        ids = [(others.space.restore(target.configs[name]), name) for name in target.candidates]
        plan = known[key].plan(
            target.features, target.budget_s, candidates=[config for config, _ in ids], k=k
        )
        return [
            (next(name for config, name in ids if config == choice.config), choice.epochs)
            for choice in plan.choices
        ]

    return choose


def random_chooser(*, seed: int) -> Chooser:
    """Return the chooser that runs the candidates to the end in random order."""

    def choose(others: MetaDataset, target: Target) -> list[tuple[str, int]]:
        """Shuffle; the same seed gives the same order."""
        order = np.random.default_rng(seed).permutation(len(target.candidates))
        return [(target.candidates[place], others.max_epochs) for place in order]

    return choose


def average_rank_chooser(others: MetaDataset, target: Target) -> list[tuple[str, int]]:
    """Run the candidates to the end, those first that ranked best on average over the other tasks.

    Args:
        others: The other tasks' results.
        target: The candidates; those that no other task ran come last.

    Returns:
        All candidates.
    """
    table = build_table(others.without([task.task_id for task in others.barren_tasks()]))
    finals = table.scores[:, :, -1]
    run = ~np.isnan(finals)
    counts = run.sum(axis=0)
    means = np.divide(
        np.where(run, finals, 0.0).sum(axis=0), counts, out=np.full(len(counts), -np.inf), where=counts > 0
    )
    mean_of = dict(zip(table.config_ids, means, strict=True))
    ranked = sorted(target.candidates, key=lambda name: -mean_of.get(name, -np.inf))
    return [(name, others.max_epochs) for name in ranked]


def default_chooser(others: MetaDataset, target: Target) -> list[tuple[str, int]]:
    """Run the candidate nearest to the space's default config, to the end."""
    encoder = ConfigEncoder(others.space)
    default = encoder.encode([others.space.default()])
    distances = encoder.distances(
        encoder.encode([target.configs[name] for name in target.candidates]), default
    )
    return [(target.candidates[int(np.argmin(distances[:, 0]))], others.max_epochs)]
