"""Frames of any origin, and those of a root, as the columns of a meta-dataset."""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from orchestrator.contracts import InputError, Outcome, digest
from surrogates.data.space import is_number

FAILURES = frozenset({Outcome.DIVERGED, Outcome.OUT_OF_MEMORY, Outcome.INVALID})
"""Outcomes that are results: the config does not work on the task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PastTask:
    """A task with results."""

    task_id: str
    name: str
    features: Mapping[str, float]
    """Meta-features; NaN where not measured."""


def require_columns(frame: pd.DataFrame, name: str, columns: Sequence[str]) -> None:
    """Raise ``InputError`` if a frame lacks a column."""
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise InputError(
            f"{name} lacks the column {', '.join(missing)}; it has {', '.join(map(str, frame.columns))}"
        )


def refuse_unknown(what: str, ids: Sequence[str], where: str) -> None:
    """Raise ``InputError`` if results refer to ids that no row describes."""
    if ids:
        raise InputError(f"{what} {ids[0]!r} has results but no row in {where} ({len(ids)} in all); add it")


def _keyed(frame: pd.DataFrame) -> pd.DataFrame:
    """Return task, config, seed and trial id as plain columns."""
    keyed = pd.DataFrame(
        {
            "task_id": frame["task_id"].astype(str),
            "config_id": frame["config_id"].astype(str),
            "seed": frame["seed"].astype(int) if "seed" in frame.columns else 0,
        }
    )
    if "trial_id" in frame.columns:
        keyed["trial_id"] = frame["trial_id"].astype(str)
        return keyed
    unique = keyed.drop_duplicates()
    ids = [digest([task, config, int(seed)]) for task, config, seed in unique.itertuples(index=False)]
    merged = keyed.merge(unique.assign(trial_id=ids), on=["task_id", "config_id", "seed"], how="left")
    return merged.set_index(keyed.index)


def curve_points(curves: pd.DataFrame, metric: str, cost: str, reports: tuple[str, ...]) -> pd.DataFrame:
    """Check a frame of curves and give it the meta-dataset's columns.

    Args:
        curves: As ``MetaDataset.from_frames`` takes it.
        metric: Column that becomes ``value``.
        cost: Column that becomes ``cost_s``.
        reports: Columns that are kept.

    Returns:
        One row a point.

    Raises:
        InputError: An epoch or a cost can't be, or a point comes twice.
    """
    points = _keyed(curves)
    points["epoch"] = curves["epoch"].astype(int)
    points["value"] = curves[metric].astype(float)
    points["cost_s"] = curves[cost].astype(float)
    for name in reports:
        points[name] = curves[name].astype(float)
    problems = []
    if (points["epoch"] < 1).any():
        problems.append(f"epoch counts from 1, got {points['epoch'].min()}")
    if not (np.isfinite(points["cost_s"]) & (points["cost_s"] >= 0)).all():
        problems.append(f"{cost} must be seconds, at least 0; a row has none or a negative one")
    doubled = points.duplicated(["trial_id", "epoch"])
    if doubled.any():
        first = points[doubled].iloc[0]
        problems.append(
            f"task {first['task_id']}, config {first['config_id']} has epoch {first['epoch']} twice"
        )
    if problems:
        raise InputError(*problems)
    return points


def curve_trials(points: pd.DataFrame) -> pd.DataFrame:
    """Return the trials that curves belong to; one with a value that is not finite has diverged."""
    grouped = points.assign(broken=~np.isfinite(points["value"])).groupby("trial_id", sort=True)
    trials = grouped.agg(
        task_id=("task_id", "first"),
        config_id=("config_id", "first"),
        seed=("seed", "first"),
        is_failure=("broken", "any"),
        cost_s=("cost_s", "sum"),
    ).reset_index()
    outcomes = np.where(trials["is_failure"], Outcome.DIVERGED.value, Outcome.COMPLETED.value)
    return trials.assign(outcome=outcomes)


def curveless_trials(failures: pd.DataFrame, cost: str) -> pd.DataFrame:
    """Return the trials that failed before their first point."""
    trials = _keyed(failures)
    given = failures["outcome"] if "outcome" in failures.columns else Outcome.DIVERGED.value
    return trials.assign(outcome=given, is_failure=True, cost_s=failures[cost].astype(float))


def past_tasks(tasks: pd.DataFrame) -> tuple[PastTask, ...]:
    """Return the tasks of a frame; every numeric column is a meta-feature."""
    past = []
    for row in tasks.to_dict(orient="records"):
        task_id = str(row.pop("task_id"))
        name = str(row.pop("name", task_id))
        features = {str(key): float(value) for key, value in row.items() if is_number(value)}
        past.append(PastTask(task_id=task_id, name=name, features=features))
    return tuple(past)


def root_trials(trials: pd.DataFrame, points: pd.DataFrame, wall_s: pd.Series) -> pd.DataFrame:
    """Return a root's finished trials with the meta-dataset's columns.

    Args:
        trials: A root's table of trials.
        points: Their curves, with what every epoch cost.
        wall_s: Wall seconds of those epochs, in the order of the points.

    Returns:
        The trials; an epoch that left no point costs its wall seconds.
    """
    kept = trials[["trial_id", "task_id", "config_id", "seed", "outcome"]].copy()
    broken = points.loc[~np.isfinite(points["value"]), "trial_id"]
    failed = trials["outcome"].isin([outcome.value for outcome in FAILURES])
    kept["is_failure"] = failed | trials["trial_id"].isin(broken)
    elsewhere_s = (wall_s - points["cost_s"]).groupby(points["trial_id"]).sum()
    kept["cost_s"] = trials["train_s"] + trials["eval_s"] - trials["trial_id"].map(elsewhere_s).fillna(0.0)
    return kept


def root_seconds(curves: pd.DataFrame, tasks: Sequence[PastTask]) -> pd.Series:
    """Return what every epoch cost a root's worker.

    On a CPU these are the process's CPU seconds where they are fewer than the wall's: what other programs
    took of the cores meanwhile is not the config's cost, and doubled it where a sweep shared its machine.

    Args:
        curves: A root's table of curves.
        tasks: Its tasks; their meta-features tell which device they were measured on.

    Returns:
        Seconds of training and evaluation, in the order of the curves.
    """
    wall_s = curves["train_s"] + curves["eval_s"]
    on_cpu = {task.task_id for task in tasks if task.features.get("device_is_gpu") == 0}
    shared = curves["task_id"].isin(on_cpu) & (curves["cpu_s"] > 0) & (curves["cpu_s"] < wall_s)
    return wall_s.mask(shared, curves["cpu_s"])


def root_tasks(tasks: pd.DataFrame, trials: pd.DataFrame) -> tuple[PastTask, ...]:
    """Return described tasks, and by name those whose description is still under way.

    Args:
        tasks: A root's table of tasks.
        trials: Its table of trials.

    Returns:
        The tasks, with all that was measured of them.
    """
    described = {}
    for row in tasks.to_dict(orient="records"):
        measured = json.loads(row["meta_features"])
        numbers = {name: math.nan if raw is None else float(raw) for name, raw in measured.items()}
        described[row["task_id"]] = PastTask(task_id=row["task_id"], name=row["name"], features=numbers)
    for row in trials.drop_duplicates("task_id").to_dict(orient="records"):
        bare = PastTask(task_id=row["task_id"], name=row["task_name"], features={})
        described.setdefault(row["task_id"], bare)
    return tuple(described.values())


def learned_features(tasks: Sequence[PastTask], features: Collection[str] | None) -> tuple[str, ...] | None:
    """Return which meta-features of a root are learned from.

    Args:
        tasks: Its tasks.
        features: Those asked for; None: all.

    Returns:
        Those of them that a task has, in the order of their names; None, for all, where all were asked for,
        or some and no task has any of them.
    """
    if features is None:
        return None
    known = {name for task in tasks for name in task.features}
    kept = known.intersection(features)
    return None if features and not kept else tuple(sorted(kept))
