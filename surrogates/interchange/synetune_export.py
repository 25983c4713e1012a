"""A meta-dataset as a Syne Tune blackbox: the files of its repository's tabular form."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.contracts import Config, InputError, Scalar
from surrogates.data.folders import whole_folder
from surrogates.data.normalisation import Array
from surrogates.data.space import Parameter
from surrogates.interchange.extras import peer
from surrogates.interchange.records import Exported
from surrogates.interchange.spaces import needs_text, to_text
from surrogates.interchange.supplement import KEY, supplement
from surrogates.interchange.synetune_box import (
    FIDELITIES,
    FIDELITY_SPACE,
    HYPERPARAMETERS,
    METADATA,
    OBJECTIVES,
    SPACE,
)
from surrogates.interchange.synetune_space import to_domains
from surrogates.metadataset import MetaDataset

ELAPSED, EPOCH_COST = "metric_elapsed_time", "metric_runtime"
"""Seconds since the trial began, and those of one epoch alone."""
_FILES = (HYPERPARAMETERS, OBJECTIVES, FIDELITIES, SPACE, FIDELITY_SPACE, METADATA)


def export_synetune(meta: MetaDataset, folder: Path | str, *, replace: bool = False) -> Exported:
    """Write the files that ``syne_tune.blackbox_repository`` loads as one tabular blackbox a task.

    An inactive hyperparameter is given the first choice or the lower end, since Syne Tune has no conditions;
    a config that a task lacks is NaN there.

    Args:
        meta: The meta-dataset.
        folder: Missing or empty; with ``replace`` also an earlier export.
        replace: Whether an earlier export may be replaced.

    Returns:
        What was written, and what the format has no place for.

    Raises:
        InputError: Syne Tune is not installed, the folder can't be written, a metric has a reserved name, or
            two configs differ only in what is active.
    """
    config_space = peer("syne_tune.config_space")
    objectives = [meta.metric, *meta.reports, EPOCH_COST, ELAPSED]
    if len(set(objectives)) < len(objectives):
        raise InputError(f"a metric is called {ELAPSED} or {EPOCH_COST}, which Syne Tune reserves; rename it")
    config_ids = sorted(meta.configs)
    seeds = sorted({int(seed) for seed in meta.trials["seed"]})
    values = _objectives(meta, config_ids, seeds)
    fidelity = "epoch" if "epoch" not in meta.space.names else "fidelity_epoch"
    names = [task.name for task in meta.tasks]
    task_names = names if len(set(names)) == len(names) else [task.task_id for task in meta.tasks]
    metadata = {
        "objectives_names": objectives,
        "task_names": task_names,
        "metric_elapsed_time": ELAPSED,
        "metric_default": meta.metric,
        "time_attr": fidelity,
        KEY: supplement(
            meta,
            config_ids=config_ids,
            seeds=seeds,
            inactive=[
                [name for name in meta.space.names if name not in meta.configs[key]] for key in config_ids
            ],
            texts=[item.name for item in meta.space.parameters if needs_text(item)],
        ),
    }
    spaces = {
        SPACE: to_domains(meta.space.parameters),
        FIDELITY_SPACE: {fidelity: config_space.randint(1, meta.max_epochs)},
    }
    table = _hyperparameters(meta.space.parameters, [meta.configs[key] for key in config_ids], config_ids)
    with whole_folder(Path(folder), names=_FILES, replace=replace) as aside:
        pq.write_table(table, aside / HYPERPARAMETERS)
        np.save(aside / OBJECTIVES, values, allow_pickle=False)
        np.save(aside / FIDELITIES, np.arange(1, meta.max_epochs + 1), allow_pickle=False)
        for name, space in spaces.items():
            (aside / name).write_text(json.dumps(config_space.config_space_to_json_dict(space)))
        (aside / METADATA).write_text(json.dumps(metadata))
    return Exported(files=_FILES, notes=_notes(meta))


def _objectives(meta: MetaDataset, config_ids: Sequence[str], seeds: Sequence[int]) -> Array:
    """Return shape ``(tasks, configs, seeds, epochs, objectives)``, NaN where there is no point."""
    doubled = meta.trials.duplicated(["task_id", "config_id", "seed"])
    if doubled.any():
        raise InputError(
            f"{int(doubled.sum())} trials have task, config and seed of another; Syne Tune has room for one"
        )
    tasks = [task.task_id for task in meta.tasks]
    shape = (len(tasks), len(config_ids), len(seeds), meta.max_epochs, len(meta.reports) + 3)
    values = np.full(shape, np.nan)
    trials = meta.trials.set_index("trial_id").loc[meta.points["trial_id"]]
    where = tuple(
        pd.Index(order).get_indexer(pd.Index(trials[column]))
        for order, column in ((tasks, "task_id"), (config_ids, "config_id"), (seeds, "seed"))
    )
    elapsed = meta.points.groupby("trial_id")["cost_s"].cumsum()
    measured = meta.points[["value", *meta.reports, "cost_s"]].assign(elapsed=elapsed)
    values[(*where, meta.points["epoch"].to_numpy() - 1)] = measured.to_numpy(float)
    return values


def _hyperparameters(
    parameters: Sequence[Parameter], configs: Sequence[Config], config_ids: Sequence[str]
) -> pa.Table:
    rows = [{item.name: _cell(item, config) for item in parameters} for config in configs]
    known: dict[tuple[Any, ...], str] = {}
    for key, row in zip(config_ids, rows, strict=True):
        other = known.setdefault(tuple(row.values()), key)
        if other != key:
            raise InputError(
                f"configs {other} and {key} differ only in what is active, which Syne Tune can't say; "
                "leave one of them out"
            )
    return pa.table({item.name: pa.array([row[item.name] for row in rows]) for item in parameters})


def _cell(parameter: Parameter, config: Config) -> Scalar:
    if parameter.name in config:
        value = config[parameter.name]
    elif parameter.choices:
        value = parameter.choices[0]
    else:
        value = int(parameter.low) if parameter.is_integer else parameter.low
    if needs_text(parameter):
        return to_text(value)
    is_float = not parameter.is_integer and not parameter.choices
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value) if is_float or any(isinstance(c, float) for c in parameter.choices) else value
    return value


def _notes(meta: MetaDataset) -> tuple[str, ...]:
    notes = [
        "conditions of the space and meta-features stand in metadata.json under 'foretune'; Syne Tune itself "
        "reads neither"
    ]
    curveless = int((~meta.trials["trial_id"].isin(meta.points["trial_id"])).sum())
    if curveless:
        notes.append(f"{curveless} trials without a point are NaN throughout")
    return tuple(notes)
