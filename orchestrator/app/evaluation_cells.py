"""Replays that are done, kept so that an interrupted comparison goes on where it ended.

A cell is one method on one task with one seed, at all budgets. It is named by what it depends on: the
meta-dataset, the method and its settings, the task, the seed, the budgets, and the release of Foretune.
"""

import dataclasses
import hashlib
import io
import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from orchestrator.contracts import digest
from orchestrator.metadataset.durable import make_folder_durably, write_durably
from surrogates.metadataset import MetaDataset
from surrogates.stepwise import Method

PROTOCOL = 1
"""Raised when the same method on the same record is replayed differently."""


class Cells:
    """A folder of finished replays.

    Args:
        folder: Made when the first one is kept.
        meta: What is replayed.
        budgets: Multiples of a task's median cost of a full run.
        more: JSON-like values that a cell depends on beside these.
    """

    def __init__(
        self, folder: Path, meta: MetaDataset, budgets: Sequence[float], *, more: Sequence[Any] = ()
    ) -> None:
        self._folder = folder
        common = [PROTOCOL, version("foretune"), fingerprint(meta), sorted(map(float, budgets))]
        self._common = [*common, *more]

    def read(self, method: Method, task_id: str, seed: int) -> pd.DataFrame | None:
        """Return a cell's trajectories; None if it has not been finished."""
        path = self._path(method, task_id, seed)
        return pd.read_parquet(path) if path.is_file() else None

    def keep(self, method: Method, task_id: str, seed: int, rows: pd.DataFrame) -> None:
        """Keep a cell's trajectories, whole or not at all."""
        content = io.BytesIO()
        rows.to_parquet(content, index=False)
        make_folder_durably(self._folder)
        write_durably(self._path(method, task_id, seed), content.getvalue())

    def _path(self, method: Method, task_id: str, seed: int) -> Path:
        return self._folder / f"{digest([*self._common, settings(method), task_id, seed])}.parquet"


def settings(method: Any) -> Any:
    """Return a method's type and settings as JSON-like values: equal for equal methods, in any process."""
    if dataclasses.is_dataclass(method) and not isinstance(method, type):
        fields = {field.name: settings(getattr(method, field.name)) for field in dataclasses.fields(method)}
        return {"type": type(method).__qualname__, **fields}
    if isinstance(method, set | frozenset):
        return sorted(map(str, method))
    if isinstance(method, list | tuple):
        return [settings(value) for value in method]
    if isinstance(method, dict):
        return {str(name): settings(value) for name, value in method.items()}
    if method is None or isinstance(method, bool | int | float | str):
        return method
    return [type(method).__qualname__, getattr(method, "name", getattr(method, "__qualname__", ""))]


def fingerprint(meta: MetaDataset) -> str:
    """Return a hash of all that a meta-dataset holds.

    Args:
        meta: Any.

    Returns:
        64 hexadecimal digits.
    """
    hashed = hashlib.sha256()
    described = {
        "metric": [meta.metric, meta.direction.value, *meta.reports],
        "tasks": [[task.task_id, task.name, dict(task.features)] for task in meta.tasks],
        "configs": {key: dict(config) for key, config in meta.configs.items()},
        "base_fingerprints": meta.base_fingerprints,
    }
    hashed.update(json.dumps(described, sort_keys=True).encode())
    for frame in (meta.trials, meta.points):
        columns = sorted(frame.columns)
        hashed.update(json.dumps(columns).encode())
        hashed.update(pd.util.hash_pandas_object(frame[columns], index=False).to_numpy().tobytes())
    return hashed.hexdigest()
