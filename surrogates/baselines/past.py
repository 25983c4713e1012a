"""What past tasks say about the candidates of a new one: the ground that portfolios stand on.

| symbol | meaning | shape |
|---|---|---|
| rank | share of a task's trials whose lowest loss is no higher; failures are last; minimised | (T, C) |
| regret | (loss − the task's best) / (its median − best), at most 10, as failures; minimised | (T, C) |
| cost | of a full run over the task's median | (T, C) |

T past tasks, C past configs, P candidates. Seeds are averaged; NaN where a task did not run a config.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from orchestrator.contracts import Config
from surrogates.data.encoding import ConfigEncoder, FeatureEncoder
from surrogates.data.normalisation import Array, median_gap, to_loss
from surrogates.metadataset import MetaDataset

MOST_REGRET = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PastResults:
    """The past tasks' results, a row a task. Build it with ``of``."""

    config_ids: tuple[str, ...]
    encoder: ConfigEncoder
    encoded: Array
    """The past configs, shape ``(C, D)``."""
    feature_encoder: FeatureEncoder
    features: Array
    """The past tasks' meta-features, z-scores, shape ``(T, M)``."""
    ranks: Array
    regrets: Array
    costs: Array

    @classmethod
    def of(cls, meta: MetaDataset) -> "PastResults":
        """Rank a meta-dataset's trials within tasks; tasks without a success say nothing and are left out."""
        config_ids = sorted(meta.configs)
        trials = _judged(meta)
        useful = set(trials["task_id"])
        tasks = [task for task in meta.tasks if task.task_id in useful]
        task_ids = [task.task_id for task in tasks]
        means = trials.groupby(["task_id", "config_id"])[["rank", "regret", "cost"]].mean()
        ranks, regrets, costs = (
            means[name].unstack("config_id").reindex(index=task_ids, columns=config_ids).to_numpy(float)
            for name in means.columns
        )
        encoder = ConfigEncoder(meta.space)
        features = FeatureEncoder.fitted([task.features for task in tasks], meta.learned_features)
        return cls(
            config_ids=tuple(config_ids),
            encoder=encoder,
            encoded=encoder.encode([meta.configs[key] for key in config_ids]),
            feature_encoder=features,
            features=features.encode([task.features for task in tasks]),
            ranks=ranks,
            regrets=regrets,
            costs=costs,
        )

    def of_candidates(self, candidates: tuple[Config, ...]) -> "CandidateResults":
        """Look candidates up.

        Args:
            candidates: At least one config.

        Returns:
            What the past tasks say about them.
        """
        distances = self.encoder.distances(self.encoder.encode(candidates), self.encoded)
        tasks, count = len(self.ranks), len(candidates)
        is_run = ~np.isnan(self.ranks)
        near = np.zeros((tasks, count), dtype=np.int64)
        for t in range(tasks):
            places = np.flatnonzero(is_run[t])
            near[t] = places[np.argmin(distances[:, places], axis=1)]
        rows = np.arange(tasks)[:, None]
        return CandidateResults(
            was_run=distances[np.arange(count), near] == 0.0,
            ranks=self.ranks[rows, near],
            regrets=self.regrets[rows, near],
            costs=self.costs[rows, near],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateResults:
    """Past results of candidates; where a task did not run one, those of the nearest config it ran.

    All arrays have shape ``(T, P)``.
    """

    was_run: NDArray[np.bool_]
    """Whether the task ran this very config."""
    ranks: Array
    regrets: Array
    costs: Array

    def order(self) -> NDArray[np.int64]:
        """Order candidates by their mean rank.

        Returns:
            Positions, shape ``(P,)``: first those that a past task ran, by the mean over the tasks that did;
            then the others, by the mean over all tasks of the nearest config's rank.
        """
        runs = self.was_run.sum(axis=0)
        own = np.where(self.was_run, self.ranks, 0.0).sum(axis=0) / np.maximum(runs, 1)
        value = np.where(runs > 0, own, self.ranks.sum(axis=0))
        return np.lexsort((value, runs == 0))


def _judged(meta: MetaDataset) -> pd.DataFrame:
    """Return the trials of tasks with a success, with rank, regret and cost within their task."""
    points = meta.points.assign(loss=to_loss(meta.points["value"].to_numpy(float), meta.direction))
    by_trial = points.groupby("trial_id")[["loss", "cost_s"]].agg({"loss": "min", "cost_s": "mean"})
    of_trial = by_trial.reindex(meta.trials["trial_id"]).to_numpy(float)
    failed = meta.trials["is_failure"].to_numpy(bool)
    full_s = np.where(failed, meta.trials["cost_s"].to_numpy(float), of_trial[:, 1] * meta.max_epochs)
    trials = meta.trials[["task_id", "config_id"]].assign(
        loss=np.where(failed, np.inf, of_trial[:, 0]), full_s=full_s
    )
    useful = trials.loc[np.isfinite(trials["loss"]), "task_id"].unique()
    trials = trials[trials["loss"].notna() & trials["task_id"].isin(useful)]
    by_task = trials.groupby("task_id")
    best = by_task["loss"].transform("min")
    gap = by_task["loss"].transform(lambda losses: median_gap(losses.to_numpy(float), float(losses.min())))
    usual_s = by_task["full_s"].transform("median")
    return trials.assign(
        rank=by_task["loss"].rank(pct=True),
        regret=((trials["loss"] - best) / gap).clip(0.0, MOST_REGRET),
        cost=(trials["full_s"] / usual_s).where(usual_s > 0, 1.0),
    )
