"""Curves of any origin: their epochs counted from 1, their costs an epoch alone, their trials told apart."""

import json
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from ConfigSpace import ConfigurationSpace

from orchestrator.contracts import Config, InputError
from surrogates.data.space import Space
from surrogates.interchange.records import CostKind, Imported, Reading, task_frame
from surrogates.metadataset import MetaDataset

_TRIAL = ["task_id", "config_id", "seed"]


def numbered(curves: pd.DataFrame, fidelity: str) -> tuple[pd.DataFrame, list[str]]:
    """Give curves an epoch from 1.

    Args:
        curves: One row a point.
        fidelity: Column with the fidelity: numbers.

    Returns:
        The curves with a column ``epoch``: the fidelity itself where it counts 1, 2, 3 and so on, its place
        among all fidelities otherwise; and a note in that case.
    """
    known = np.sort(curves[fidelity].unique())
    places = np.searchsorted(known, curves[fidelity].to_numpy()) + 1
    if np.array_equal(known, np.arange(1, len(known) + 1)):
        return curves.assign(epoch=places), []
    shown = [f"{value:g}" for value in known]
    listed = ", ".join([*shown[:3], "…", shown[-1]] if len(shown) > 4 else shown)
    return curves.assign(epoch=places), [f"epochs 1 to {len(known)} stand for the fidelities {listed}"]


def costed(curves: pd.DataFrame, column: str, kind: CostKind) -> tuple[pd.DataFrame, list[str]]:
    """Give curves the seconds of each epoch alone.

    Args:
        curves: One row a point: task_id, config_id, seed, epoch and the column.
        column: Where the seconds stand.
        kind: What they count.

    Returns:
        The curves in order, with a column ``cost_s``; points without seconds are left out, with a note.

    Raises:
        InputError: Cumulative seconds go down, or seconds are negative.
    """
    known = curves[np.isfinite(curves[column])].sort_values([*_TRIAL, "epoch"], ignore_index=True)
    notes = []
    if len(known) < len(curves):
        notes.append(f"{len(curves) - len(known)} points without seconds in {column} were left out")
    seconds = known[column].astype(float)
    trials = known.groupby(_TRIAL, sort=False)
    if kind is CostKind.CUMULATIVE:
        cost = trials[column].diff().fillna(seconds)
    elif kind is CostKind.TOTAL:
        cost = seconds / trials[column].transform("size")
    else:
        cost = seconds
    if (cost < 0).any():
        place = known.loc[cost.idxmin()]
        raise InputError(
            f"{column} can't be {kind}: task {place['task_id']}, config {place['config_id']}, epoch "
            f"{place['epoch']} would cost {cost.min():g} s; say what it counts (--cost-kind)"
        )
    return known.assign(cost_s=cost.astype(float)), notes


def unmeasured_left_out(curves: pd.DataFrame, metric: str) -> tuple[pd.DataFrame, list[str]]:
    """Leave out what follows the first value of a trial that is not finite; that one is its failure.

    Args:
        curves: In order of trials and epochs.
        metric: Column that decides.

    Returns:
        The curves, and a note where points were left out.
    """
    broken = ~np.isfinite(curves[metric])
    before = broken.groupby([curves[name] for name in _TRIAL], sort=False).cumsum() - broken
    kept = curves[before == 0]
    lost = len(curves) - len(kept)
    return kept, [f"{lost} points after a value that is not finite were left out"] if lost else []


def decide_direction(reading: Reading) -> str:
    """Return the direction that was given; ``InputError`` if none was, since no table says it."""
    if reading.direction is None:
        raise InputError(
            "the tables don't say which way the metric improves; add --direction minimise|maximise"
        )
    return reading.direction


def decide_space(reading: Reading, declared: Space | None, configs: Mapping[str, Config]) -> Space:
    """Return the space that was given, else the declared one, refusing one that lacks a name of a config."""
    space = reading.space or declared
    if space is None:
        raise InputError("no space is declared; give one as ConfigSpace's JSON (--space)")
    names = {name for config in configs.values() for name in config}
    outside = sorted(names - set(space.names))
    if outside:
        raise InputError(f"configs use {', '.join(outside)}, which the declared space lacks; declare it")
    return space


def from_strangers(
    curves: pd.DataFrame,
    configs: Mapping[str, Config],
    space: Space,
    reading: Reading,
    *,
    metric: str,
    tasks: Sequence[str],
    failures: pd.DataFrame | None = None,
    features: pd.DataFrame | None = None,
    notes: Sequence[str],
) -> Imported:
    """Make a meta-dataset of tables that no supplement goes with.

    Args:
        curves: task_id, config_id, seed, epoch, the metric, cost_s, the reports.
        configs: Config id to config.
        space: The declared space.
        reading: What the tables don't say.
        metric: Column that decides.
        tasks: The tasks' names.
        failures: Trials without a point, as ``MetaDataset.from_frames`` takes them.
        features: The tasks' own meta-features, where ``reading`` has none.
        notes: What is to be said so far.

    Returns:
        The meta-dataset.

    Raises:
        InputError: A value can't be, or nothing is left.
    """
    if curves.empty:
        raise InputError("no point is left to read: every value is missing")
    given = features if reading.features is None else reading.features
    described = task_frame(list(tasks), given)
    meta = MetaDataset.from_frames(
        curves,
        pd.DataFrame([{"config_id": key, **config} for key, config in configs.items()], dtype=object),
        described,
        space=ConfigurationSpace.from_serialized_dict(json.loads(space.to_json())),
        metric=metric,
        direction=decide_direction(reading),
        cost="cost_s",
        reports=reading.reports,
        failures=failures,
    )
    said = list(notes)
    if len(described.columns) == 1:
        said.append("the tasks have no meta-features; give some (--features) to tell tasks apart")
    idle = len(tasks) - len(meta.tasks)
    if idle:
        said.append(f"{idle} tasks without a trial were left out")
    return Imported(meta=meta, notes=tuple(said))
