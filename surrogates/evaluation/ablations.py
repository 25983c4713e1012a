"""What each part is worth: the recommender without it, or with less to learn from.

An ablation changes what a method learns from or how it learns, never the record on which it is replayed:
clocks and curves stay true.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from surrogates.evaluation.ours import TransferOnly
from surrogates.metadataset import MetaDataset
from surrogates.stepwise import Method, Start

PARTS = {"no cost": "cost", "no failure model": "failures", "no uncertainty": "uncertainty"}
"""Parts of the recommender that can be left out."""
SHARES = (2, 4, 8)
"""Fewer trials: one in so many is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WithoutFeatures:
    """No meta-feature is known of any task."""

    def __call__(self, meta: MetaDataset, seed: int) -> MetaDataset:
        """Return the meta-dataset without them."""
        return replace(meta, tasks=tuple(replace(task, features={}) for task in meta.tasks))


@dataclass(frozen=True, slots=True, kw_only=True)
class FewerTasks:
    """Some past tasks, drawn at random among those on which a trial worked."""

    count: int

    def __call__(self, meta: MetaDataset, seed: int) -> MetaDataset:
        """Return the meta-dataset with ``count`` tasks; with all that worked where there are no more."""
        barren = {task.task_id for task in meta.barren_tasks()}
        worked = [task.task_id for task in meta.tasks if task.task_id not in barren]
        kept = np.random.default_rng(seed).permutation(len(worked))[: self.count]
        chosen = {worked[place] for place in kept}
        return meta.without([task.task_id for task in meta.tasks if task.task_id not in chosen])


@dataclass(frozen=True, slots=True, kw_only=True)
class FewerTrials:
    """One trial in ``one_in`` of each past task, drawn at random; always one that worked, where there is."""

    one_in: int

    def __call__(self, meta: MetaDataset, seed: int) -> MetaDataset:
        """Return the meta-dataset with those trials."""
        rng = np.random.default_rng(seed)
        with_points = meta.trials["trial_id"].isin(meta.points["trial_id"])
        worked = (~meta.trials["is_failure"] & with_points).to_numpy()
        kept: list[int] = []
        for task in meta.tasks:
            rows = rng.permutation(np.flatnonzero((meta.trials["task_id"] == task.task_id).to_numpy()))
            drawn = rows[: max(len(rows) // self.one_in, 1)]
            if not worked[drawn].any() and worked[rows].any():
                drawn = np.append(drawn[1:], rows[worked[rows]][0])
            kept += [int(row) for row in drawn]
        return _with_trials(meta, meta.trials.iloc[sorted(kept)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablated:
    """A method that learns from a changed meta-dataset."""

    name: str
    method: Method
    change: Callable[[MetaDataset, int], MetaDataset]
    """Takes what there is to learn from, and a seed."""

    @property
    def uses_budget(self) -> bool:
        """What the method itself says."""
        return self.method.uses_budget

    def learn(self, others: MetaDataset, *, seed: int) -> Start:
        """Let the method learn from the changed meta-dataset."""
        return self.method.learn(self.change(others, seed), seed=seed)


def ablations(tasks: int) -> list[Method]:
    """Return the recommender without each of its parts, and with less to learn from.

    Args:
        tasks: How many tasks the meta-dataset has, the one left out included.

    Returns:
        The methods, named after what is missing.
    """
    whole = TransferOnly()
    changed: list[tuple[str, Callable[[MetaDataset, int], MetaDataset]]] = [
        ("no meta-features", WithoutFeatures()),
        *((f"{count} tasks", FewerTasks(count=count)) for count in range(2, tasks - 1, 2)),
        *((f"1/{one_in} of the trials", FewerTrials(one_in=one_in)) for one_in in SHARES),
    ]
    return [
        *(TransferOnly(name=name, without=frozenset({part})) for name, part in PARTS.items()),
        *(Ablated(name=name, method=whole, change=change) for name, change in changed),
    ]


def _with_trials(meta: MetaDataset, trials: pd.DataFrame) -> MetaDataset:
    used = set(trials["config_id"])
    return replace(
        meta,
        trials=trials.reset_index(drop=True),
        points=meta.points[meta.points["trial_id"].isin(trials["trial_id"])].reset_index(drop=True),
        configs={key: config for key, config in meta.configs.items() if key in used},
    )
