"""Configs as a Parquet table: one column a hyperparameter, of its values' own type where they have one."""

import json
from collections.abc import Mapping, Sequence, Set
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.contracts import Config, InputError, Scalar
from surrogates.data.space import Space
from surrogates.data.tables import require_columns

_EXACT_INTEGERS = 2**53
"""Integers up to here are floats without loss."""


def refuse_taken(what: str, names: Sequence[str]) -> None:
    """Raise ``InputError`` if names are those of our own columns."""
    if names:
        raise InputError(f"{what} is called {names[0]!r}, which is a column of the tables; rename it")


def read_parquet(path: Path) -> pa.Table:
    """Read a Parquet file; ``InputError`` if it can't be."""
    try:
        return pq.read_table(path)
    except (pa.ArrowException, OSError) as err:
        raise InputError(f"{path} can't be read as Parquet: {err}; write the tables anew") from err


def config_table(configs: Mapping[str, Config], names: Sequence[str]) -> tuple[pa.Table, list[str]]:
    """Return configs as a table.

    Args:
        configs: Config id to config.
        names: All hyperparameters.

    Returns:
        The table, missing where inactive, and the columns that hold JSON texts, their values being of
        several types.

    Raises:
        InputError: A hyperparameter is called ``config_id``.
    """
    refuse_taken("a hyperparameter", [name for name in names if name == "config_id"])
    columns, texts = {"config_id": pa.array(list(configs), pa.string())}, []
    for name in names:
        held = [config[name] for config in configs.values() if name in config]
        kind = _common_type(held)
        if kind is None:
            texts.append(name)
            cells = [json.dumps(config[name]) if name in config else None for config in configs.values()]
            columns[name] = pa.array(cells, pa.string())
        else:
            columns[name] = pa.array([config.get(name) for config in configs.values()], kind)
    return pa.table(columns), texts


def _common_type(values: Sequence[Scalar]) -> pa.DataType | None:
    """Return the type of column that holds the values without loss; None if there is none."""
    kinds = {type(value) for value in values}
    numbers = [value for value in values if isinstance(value, int | float)]
    if kinds <= {bool}:
        return pa.bool_()
    if kinds == {str}:
        return pa.string()
    if kinds == {int} and all(-(2**63) <= value < 2**63 for value in numbers):
        return pa.int64()
    if kinds <= {int, float} and all(
        isinstance(value, float) or abs(value) <= _EXACT_INTEGERS for value in numbers
    ):
        return pa.float64()
    return None


def read_configs(path: Path, space: Space, texts: Set[str]) -> dict[str, Config]:
    """Read configs as ``config_table`` returned them.

    Args:
        path: The Parquet file.
        space: The declared space.
        texts: Columns that hold JSON texts.

    Returns:
        Config id to config.

    Raises:
        InputError: The file is damaged, or has a name that the space lacks.
    """
    configs: dict[str, Config] = {}
    table = read_parquet(path)
    require_columns(pd.DataFrame(columns=table.column_names), path.name, ["config_id"])
    for row in table.to_pylist():
        key = str(row.pop("config_id"))
        held = {name: value for name, value in row.items() if value is not None}
        config = space.restore({name: value for name, value in held.items() if name not in texts})
        try:
            config |= {name: json.loads(value) for name, value in held.items() if name in texts}
        except (json.JSONDecodeError, TypeError) as err:
            raise InputError(f"{path}: config {key} is damaged: {err}; write the tables anew") from err
        if key in configs:
            raise InputError(f"{path} has config {key} twice")
        configs[key] = {name: config[name] for name in space.names if name in config}
    return configs
