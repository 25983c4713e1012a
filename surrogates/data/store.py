"""A meta-dataset as a folder of tables: for foreign curves, and for readers with pandas or DuckDB.

| file | a row or a value |
|---|---|
| curves.parquet | trial_id, task_id, config_id, seed, epoch, metric, cost_s of this epoch alone, reports |
| trials.parquet | trial_id, task_id, config_id, seed, outcome, is_failure, cost_s of all of it |
| configs.parquet | config_id and one column a hyperparameter, missing where inactive |
| tasks.parquet | task_id, name and one column a meta-feature |
| space.json | the declared space, in ConfigSpace's own form |
| table.json | format, metric, direction, cost, reports, provenance, json_columns and more |

A hyperparameter whose values are of several types (or None) is a column of JSON texts, named in
``json_columns``; all others are of their own type.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.contracts import InputError
from surrogates.data.config_table import config_table, read_configs, read_parquet, refuse_taken
from surrogates.data.description import Description
from surrogates.data.folders import whole_folder
from surrogates.data.space import Space
from surrogates.data.tables import PastTask, require_columns
from surrogates.metadataset import ROOT_REPORTS, MetaDataset

FORMAT = 1
COST = "cost_s"
_CURVES, _TRIALS, _CONFIGS, _TASKS = "curves.parquet", "trials.parquet", "configs.parquet", "tasks.parquet"
_SPACE, _TABLE = "space.json", "table.json"
FILES = frozenset({_CURVES, _TRIALS, _CONFIGS, _TASKS, _SPACE, _TABLE})
_KEYS = {
    "trial_id": pa.string(),
    "task_id": pa.string(),
    "config_id": pa.string(),
    "seed": pa.int64(),
}
_TRIAL = {**_KEYS, "outcome": pa.string(), "is_failure": pa.bool_(), COST: pa.float64()}


def is_tables(folder: Path) -> bool:
    """Return whether a folder is one of tables."""
    return (folder / _TABLE).is_file()


def read_meta(
    path: Path | str, metric: str | None = None, *, reports: Sequence[str] = ROOT_REPORTS
) -> MetaDataset:
    """Read a meta-dataset from a folder of tables or from a sweep's root.

    Args:
        path: The folder.
        metric: What decides; None: what the tables say, and ``eval_loss`` of a root.
        reports: Columns of a root's curves that are kept beside it; tables have their own.

    Returns:
        The meta-dataset.

    Raises:
        InputError: It is neither, is damaged, or has another metric.
        NothingLearnedError: It is a root on which no trial has finished yet.
    """
    folder = Path(path)
    if not is_tables(folder):
        return MetaDataset.from_root(folder, metric or "eval_loss", reports=reports)
    meta = read_tables(folder)
    if metric not in (None, meta.metric):
        raise InputError(
            f"the tables of {folder} are about {meta.metric}, not {metric}; leave the metric out, or import "
            "them anew with it"
        )
    return meta


def write_tables(
    meta: MetaDataset,
    folder: Path | str,
    *,
    provenance: Mapping[str, str] | None = None,
    replace: bool = False,
) -> None:
    """Write a meta-dataset as a folder of tables, whole or not at all.

    Args:
        meta: The meta-dataset.
        folder: Missing or empty; with ``replace`` also a folder of tables.
        provenance: Where the curves come from, in words.
        replace: Whether a folder of tables that is there may be replaced.

    Raises:
        InputError: The folder can't be written, or a name is one of our own columns.
    """
    configs, json_columns = config_table(meta.configs, meta.space.names)
    curves = _curve_table(meta)
    described = {
        "format": FORMAT,
        "cost": COST,
        **Description.of(meta).as_json(),
        "json_columns": json_columns,
        "provenance": dict(provenance or {}),
    }
    with whole_folder(Path(folder), names=FILES, replace=replace) as aside:
        pq.write_table(curves, aside / _CURVES)
        pq.write_table(_table(meta.trials, _TRIAL), aside / _TRIALS)
        pq.write_table(configs, aside / _CONFIGS)
        pq.write_table(_task_table(meta.tasks), aside / _TASKS)
        (aside / _SPACE).write_text(meta.space.to_json() + "\n")
        (aside / _TABLE).write_text(json.dumps(described, indent=2) + "\n")


def read_tables(folder: Path | str) -> MetaDataset:
    """Read a folder of tables.

    Args:
        folder: As ``write_tables`` made it.

    Returns:
        The meta-dataset, equal to the one written.

    Raises:
        InputError: The folder is no such folder, is damaged, or of a format that this release can't read.
    """
    folder = Path(folder)
    described, texts = _description(folder)
    metric, reports = described.metric, described.reports
    measured = dict.fromkeys([metric, COST, *reports], pa.float64())
    curves = _read(folder / _CURVES, {**_KEYS, "epoch": pa.int64(), **measured})
    space = Space.from_json(_text(folder / _SPACE))
    return described.meta(
        points=curves.rename(columns={metric: "value"})[["trial_id", "epoch", "value", COST, *reports]],
        trials=_read(folder / _TRIALS, _TRIAL),
        configs=read_configs(folder / _CONFIGS, space, texts),
        tasks=_read_tasks(folder / _TASKS),
        space=space,
    )


def _curve_table(meta: MetaDataset) -> pa.Table:
    measured = [meta.metric, COST, *meta.reports]
    refuse_taken("a metric", [name for name in measured if name in {*_KEYS, "epoch"}])
    refuse_taken("a metric", [name for name in set(measured) if measured.count(name) > 1])
    keys = meta.trials[list(_KEYS)]
    curves = meta.points.merge(keys, on="trial_id", validate="many_to_one").rename(
        columns={"value": meta.metric}
    )
    return _table(curves, {**_KEYS, "epoch": pa.int64(), **dict.fromkeys(measured, pa.float64())})


def _table(frame: pd.DataFrame, columns: Mapping[str, pa.DataType]) -> pa.Table:
    """Return columns of a frame, NaN kept as NaN."""
    return pa.table(
        {name: pa.array(frame[name].tolist(), kind) for name, kind in columns.items()},
        schema=pa.schema(list(columns.items())),
    )


def _task_table(tasks: Sequence[PastTask]) -> pa.Table:
    names = sorted({name for task in tasks for name in task.features})
    refuse_taken("a meta-feature", [name for name in names if name in ("task_id", "name")])
    columns = {
        "task_id": pa.array([task.task_id for task in tasks], pa.string()),
        "name": pa.array([task.name for task in tasks], pa.string()),
    }
    for name in names:
        columns[name] = pa.array([task.features.get(name) for task in tasks], pa.float64())
    return pa.table(columns)


def _description(folder: Path) -> tuple[Description, frozenset[str]]:
    """Return what table.json says, and which columns of the configs hold JSON texts."""
    path = folder / _TABLE
    try:
        content = json.loads(_text(path))
    except json.JSONDecodeError as err:
        raise InputError(f"{path} is damaged: {err}; write the tables anew") from err
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise InputError(f"{path} is of format {found!r}, this release reads {FORMAT}; write the tables anew")
    try:
        return Description.parse(content), frozenset(content.get("json_columns", ()))
    except InputError as err:
        raise InputError(f"{path}: {err}") from err


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as err:
        raise InputError(
            f"{path.parent} is no folder of tables: {path.name} can't be read ({err}); make one with "
            "`foretune import`"
        ) from err


def _read(path: Path, columns: Mapping[str, pa.DataType]) -> pd.DataFrame:
    table = read_parquet(path)
    require_columns(pd.DataFrame(columns=table.column_names), path.name, list(columns))
    try:
        cast = table.select(list(columns)).cast(pa.schema(list(columns.items())))
    except (pa.ArrowException, ValueError) as err:
        raise InputError(f"{path} has a column of another type than it should: {err}") from err
    empty = [name for name, kind in columns.items() if kind != pa.float64() and cast[name].null_count]
    if empty:
        raise InputError(f"{path} has no {empty[0]} in some rows; write the tables anew")
    frame: pd.DataFrame = cast.to_pandas()
    return frame


def _read_tasks(path: Path) -> list[PastTask]:
    table = read_parquet(path)
    require_columns(pd.DataFrame(columns=table.column_names), path.name, ["task_id", "name"])
    tasks = []
    for row in table.to_pylist():
        task_id, name = str(row.pop("task_id")), str(row.pop("name"))
        try:
            features = {key: float(value) for key, value in row.items() if value is not None}
        except (TypeError, ValueError) as err:
            raise InputError(f"{path}: a meta-feature of task {name} is no number: {err}") from err
        tasks.append(PastTask(task_id=task_id, name=name, features=features))
    return tasks
