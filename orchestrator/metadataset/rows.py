"""Records to rows and back. What a row holds, log and tables can hold: checked here, before it is logged."""

import json
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from typing import Any

import pyarrow as pa

from orchestrator.contracts import (
    AttemptRecord,
    CurvePoint,
    TaskId,
    TaskRecord,
    TrainingSettings,
    Trial,
    TrialResult,
)
from orchestrator.metadataset.schema import Table

Cell = str | int | float | None
Row = tuple[Cell, ...]
"""One row's values, in the order of the table's columns."""

_INT64 = range(-(2**63), 2**63)
_OF_TRIAL = frozenset(field.name for field in fields(Trial))


def curve_row(point: CurvePoint) -> Row:
    """Return a curve point's row; raises ``ValueError`` if a count does not fit 64 bits."""
    return _row(Table.CURVES, operator.attrgetter(*Table.CURVES.columns)(point))


def attempt_row(record: AttemptRecord) -> Row:
    """Return a journal entry's row."""
    return _row(Table.ATTEMPTS, operator.attrgetter(*Table.ATTEMPTS.columns)(record))


def task_row(record: TaskRecord) -> Row:
    """Return a task's row; a meta-feature that is not a number becomes null.

    Args:
        record: The task.

    Returns:
        Its row.

    Raises:
        ValueError: A meta-feature is infinite, or a count does not fit 64 bits.
    """
    features = {name: _feature(name, value) for name, value in record.meta_features.items()}
    values = {name: getattr(record, name) for name in Table.TASKS.columns} | {
        "meta_features": canonical(features)
    }
    return _row(Table.TASKS, tuple(values.values()))


def trial_row(result: TrialResult) -> Row:
    """Return a finished trial's row; raises ``ValueError`` if a count does not fit 64 bits."""
    trial = result.trial
    values = {
        "config": canonical(trial.config),
        "settings": canonical(asdict(trial.settings)),
        "provenance": canonical(result.provenance),
    }
    return _row(
        Table.TRIALS,
        tuple(
            values[name] if name in values else getattr(trial if name in _OF_TRIAL else result, name)
            for name in Table.TRIALS.columns
        ),
    )


def trial_of(row: Mapping[str, Any]) -> Trial:
    """Build the trial that a row of the trials table describes; its ids are computed anew.

    Args:
        row: Column name to value.

    Returns:
        The trial; its ``trial_id`` equals the row's unless the row was altered.

    Raises:
        ValueError: A column holds what no trial can have.
        TypeError: The settings hold names that this version does not know.
    """
    return Trial(
        task_id=TaskId(row["task_id"]),
        task_source=row["task_source"],
        task_name=row["task_name"],
        config=json.loads(row["config"]),
        seed=int(row["seed"]),
        base_model=row["base_model"],
        base_fingerprint=row["base_fingerprint"],
        space_version=row["space_version"],
        settings=TrainingSettings(**json.loads(row["settings"])),
        max_epochs=int(row["max_epochs"]),
    )


def canonical(content: Mapping[str, Any]) -> str:
    """Return a mapping of finite values as JSON with sorted keys; equal mappings give equal text."""
    return json.dumps(
        dict(content), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def _row(table: Table, values: tuple[Any, ...]) -> Row:
    return tuple(convert(value) for convert, value in zip(_CONVERTERS[table], values, strict=True))


def _feature(name: str, value: float) -> float | None:
    if math.isinf(value):
        raise ValueError(f"meta-feature {name} must be a number or NaN, got {value}")
    return None if math.isnan(value) else float(value)


def _text(value: str | None) -> Cell:
    """Return plain text; a lone surrogate, which UTF-8 can't hold, is spelled out in ASCII."""
    if value is None or (type(value) is str and value.isascii()):
        return value
    return str(value).encode("utf-8", "backslashreplace").decode()


def _integer(value: int | None) -> Cell:
    if value is None:
        return None
    number = int(operator.index(value))
    if number not in _INT64:
        raise ValueError(f"a count must fit 64 bits, got {number}")
    return number


def _number(value: float | None) -> Cell:
    """Return a float; of the many NaNs the one that reading a log gives back."""
    if value is None:
        return None
    number = float(value)
    return number if number == number else math.nan


_BY_TYPE: Mapping[pa.DataType, Callable[[Any], Cell]] = {
    pa.string(): _text,
    pa.int64(): _integer,
    pa.float64(): _number,
}
_CONVERTERS = {table: tuple(_BY_TYPE[field.type] for field in table.schema) for table in Table}
