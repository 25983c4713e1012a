"""What a report is about, read once: a sweep's root, or a folder of tables, in the same words."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from orchestrator.app.roots import existing_spec, planned_trials
from orchestrator.app.spec import SweepSpec
from orchestrator.contracts import Config, InputError, NothingLearnedError, Outcome
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.lock import holder_of
from orchestrator.metadataset.reader import MetaDatasetReader
from orchestrator.metadataset.schema import Table
from surrogates.data.normalisation import Array, Direction, to_loss
from surrogates.data.space import Space
from surrogates.data.store import is_tables, read_meta
from surrogates.data.tables import FAILURES, PastTask, root_seconds, root_tasks
from surrogates.metadataset import MetaDataset

UNDER_WAY = "under way"
"""In place of an outcome, of a trial that has points and no end yet."""
METRICS = tuple(
    name
    for name in Table.CURVES.columns
    if name.startswith(("train_loss", "eval_", "test_")) and name != "eval_s"
)
"""Columns of a root's curves that can decide."""
_SHOWN = ("test_loss", "test_exact_match")
"""Columns of a root that are shown beside the metric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A sweep or tables, as they stood when they were read."""

    path: Path
    name: str
    spec: SweepSpec | None
    """None of tables of another origin."""
    driver: str | None
    """The process that is at work on the sweep."""
    planned: int | None
    """Trials; None where no plan is known."""
    attempts: pd.DataFrame
    """The journal; empty of tables."""
    trials: pd.DataFrame
    """A row a trial, those under way too: trial_id, task_id, task, config_id, seed, outcome, is_failure,
    epochs, and of a root finished_at, error, device, provenance."""
    points: pd.DataFrame
    """A row a point whose value is finite, by trial and epoch: trial_id, epoch, value, loss (minimised),
    cost_s,
    spent_s (by then) and the reports."""
    reports: tuple[str, ...]
    tasks: Mapping[str, str]
    """Task id to its name, one of each, in the order of the names."""
    features: Mapping[str, Mapping[str, float]]
    """Task id to its meta-features."""
    configs: Mapping[str, Config]
    space: Space
    metric: str
    direction: Direction
    meaning: str
    """The metric's unit and direction, in words."""
    meta: MetaDataset | None
    """What can be learned from; None before a trial has ended."""

    @property
    def finished(self) -> pd.DataFrame:
        """The trials that have an outcome."""
        return self.trials[self.trials["outcome"] != UNDER_WAY]

    @property
    def constant(self) -> frozenset[str]:
        """Hyperparameters that are the same in all configs."""
        names = {name for config in self.configs.values() for name in config}
        return frozenset(
            name for name in names if len({repr(config.get(name)) for config in self.configs.values()}) == 1
        )

    def losses(self, values: Array) -> Array:
        """Return values of the metric so that lower is better."""
        return to_loss(values, self.direction)


def read_source(path: Path, metric: str | None) -> Source:
    """Read a sweep's root, also while it runs, or a folder of tables.

    Args:
        path: The folder.
        metric: Column that decides; None: ``eval_loss`` of a root, and what the tables say.

    Returns:
        All that a report shows, but the evaluation and the recommendation.

    Raises:
        InputError: It is neither, or has no such metric.
        CorruptLedgerError: A part can't be read.
    """
    return _of_tables(path, metric) if is_tables(path) else _of_root(path, metric or "eval_loss")


def _of_root(path: Path, metric: str) -> Source:
    spec = existing_spec(path)
    if metric not in METRICS:
        raise InputError(f"a sweep's curves have no metric {metric!r}; there are {', '.join(METRICS)}")
    layout, reader = RootLayout(path), MetaDatasetReader(path)
    # In this order: a driver that ends in between has written what it had to say, and a trial that has ended
    # has all its points.
    driver, planned = holder_of(layout.lock_file), planned_trials(path)
    trials, described, curves = reader.trials(), reader.tasks(), reader.curves()
    past = root_tasks(described, trials)
    reports = tuple(name for name in _SHOWN if name != metric)
    points = _root_points(curves, past, metric, reports)
    configs = zip(trials["config_id"], trials["config"], strict=True)
    return _source(
        path=path,
        name=spec.name,
        spec=spec,
        driver=driver,
        planned=len(planned),
        attempts=reader.attempts(),
        trials=_root_trials(trials, points),
        points=points,
        reports=reports,
        names={task.task_id: task.name for task in past},
        features={task.task_id: task.features for task in past},
        configs={str(key): json.loads(text) for key, text in configs},
        space=Space.from_json(layout.space_json.read_text()),
        metric=metric,
        direction=Direction.MINIMISE if metric.endswith("_loss") else Direction.MAXIMISE,
        meaning=Table.CURVES.schema.field(metric).metadata[b"doc"].decode(),
        meta=_meta(path, metric),
    )


def _root_points(
    curves: pd.DataFrame, past: Sequence[PastTask], metric: str, reports: Sequence[str]
) -> pd.DataFrame:
    keys = {name: curves[name] for name in ("trial_id", "task_id", "config_id", "seed", "epoch")}
    cost_s = root_seconds(curves, past) if len(curves) else curves["train_s"]
    measured = {name: curves[name].astype(float) for name in reports}
    return pd.DataFrame(
        {**keys, "value": curves[metric].astype(float), "cost_s": cost_s.astype(float), **measured}
    )


def _root_trials(trials: pd.DataFrame, points: pd.DataFrame) -> pd.DataFrame:
    """Return the trials that have ended, and those that have points only."""
    ended = trials.assign(is_failure=trials["outcome"].isin([*map(str, FAILURES), str(Outcome.FAILED)]))
    left = points[~points["trial_id"].isin(trials["trial_id"])]
    if left.empty:
        return ended
    living = left.groupby("trial_id", sort=False).agg(
        task_id=("task_id", "first"),
        config_id=("config_id", "first"),
        seed=("seed", "first"),
        epochs=("epoch", "max"),
    )
    living = living.reset_index().assign(outcome=UNDER_WAY, is_failure=False)
    return living if ended.empty else pd.concat([ended, living], ignore_index=True)


def _of_tables(path: Path, metric: str | None) -> Source:
    meta = read_meta(path, metric)
    keys = meta.trials[["trial_id", "task_id", "config_id", "seed"]]
    epochs = meta.points.groupby("trial_id")["epoch"].max()
    return _source(
        path=path,
        name=path.resolve().name,
        spec=None,
        driver=None,
        planned=None,
        attempts=pd.DataFrame({"trial_id": [], "event": [], "at": []}),
        trials=meta.trials.assign(epochs=meta.trials["trial_id"].map(epochs).fillna(0).astype(int)),
        points=meta.points.merge(keys, on="trial_id", validate="many_to_one"),
        reports=meta.reports,
        names={task.task_id: task.name for task in meta.tasks},
        features={task.task_id: task.features for task in meta.tasks},
        configs=meta.configs,
        space=meta.space,
        metric=meta.metric,
        direction=meta.direction,
        meaning=f"{meta.direction.value}d, as the tables were imported",
        meta=meta,
    )


def _source(
    *,
    names: Mapping[str, str],
    trials: pd.DataFrame,
    points: pd.DataFrame,
    direction: Direction,
    **rest: object,
) -> Source:
    labels = _unique(names, trials["task_id"])
    kept = points[np.isfinite(points["value"].to_numpy(float))].sort_values(["trial_id", "epoch"])
    kept = kept.assign(
        loss=to_loss(kept["value"].to_numpy(float), direction),
        spent_s=kept.groupby("trial_id")["cost_s"].cumsum(),
    ).reset_index(drop=True)
    return Source(
        trials=trials.assign(task=trials["task_id"].map(labels)).reset_index(drop=True),
        points=kept,
        tasks=labels,
        direction=direction,
        **rest,  # type: ignore[arg-type]  # the fields that pass through unchanged
    )


def _unique(names: Mapping[str, str], used: "pd.Series[str]") -> dict[str, str]:
    """Return a name for every task, with a part of its id where two share one."""
    known = {**{str(key): str(key)[:8] for key in used.unique()}, **names}
    shared = Counter(known.values())
    labels = {key: name if shared[name] == 1 else f"{name} ({key[:6]})" for key, name in known.items()}
    return dict(sorted(labels.items(), key=lambda item: item[1]))


def _meta(path: Path, metric: str) -> MetaDataset | None:
    try:
        return read_meta(path, metric, reports=_SHOWN)
    except NothingLearnedError:
        return None
