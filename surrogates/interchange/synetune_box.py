"""A Syne Tune blackbox of many tasks: from a folder of its repository, or from its objects in memory.

Files are read without Syne Tune's own loader, which needs another Parquet library; the types of its spaces
are its own.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from orchestrator.contracts import InputError
from surrogates.data.config_table import read_parquet
from surrogates.data.normalisation import Array
from surrogates.interchange.extras import peer

HYPERPARAMETERS, OBJECTIVES = "hyperparameters.parquet", "objectives_evaluations.npy"
FIDELITIES, SPACE = "fidelities_values.npy", "configspace.json"
FIDELITY_SPACE, METADATA = "fidelityspace.json", "metadata.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One task, as Syne Tune's tabular blackbox holds it."""

    hyperparameters: pd.DataFrame
    fidelities: Array
    values: Array
    """Shape ``(configs, seeds, fidelities, objectives)``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A blackbox of all tasks."""

    domains: Mapping[str, Any]
    objectives: tuple[str, ...]
    metadata: Mapping[str, Any]
    tasks: Mapping[str, Table | pd.DataFrame]
    """A frame has the hyperparameters, the objectives and, where they exist, the columns below."""
    fidelity: str | None = None
    seed: str | None = None


def from_folder(folder: Path) -> Box:
    """Read a folder of Syne Tune's repository.

    Args:
        folder: In its tabular layout, its offline one, or with one table a task.

    Returns:
        The blackbox.

    Raises:
        InputError: It is no blackbox, or is damaged.
    """
    config_space = peer("syne_tune.config_space")
    metadata, spaces = _json(folder / METADATA), _json(folder / SPACE)
    try:
        domains = config_space.config_space_from_json_dict(spaces)
        objectives = tuple(str(name) for name in metadata["objectives_names"])
        names = [str(name) for name in metadata["task_names"]]
    except (KeyError, TypeError, AttributeError, AssertionError) as err:
        raise InputError(f"{folder} is no blackbox of Syne Tune: {type(err).__name__}: {err}") from err
    seed, fidelity = metadata.get("seed_col"), None
    tasks: dict[str, Table | pd.DataFrame] = {}
    if (folder / HYPERPARAMETERS).is_file():
        hyperparameters, values = (
            read_parquet(folder / HYPERPARAMETERS).to_pandas(),
            _array(folder / OBJECTIVES),
        )
        fidelities = _array(folder / FIDELITIES)
        if len(values) != len(names):
            raise InputError(f"{folder} names {len(names)} tasks, but holds the values of {len(values)}")
        for name, held in zip(names, values, strict=True):
            tasks[name] = Table(hyperparameters=hyperparameters, fidelities=fidelities, values=held)
    elif (folder / f"{names[0]}-{HYPERPARAMETERS}").is_file():
        for name in names:
            tasks[name] = Table(
                hyperparameters=read_parquet(folder / f"{name}-{HYPERPARAMETERS}").to_pandas(),
                fidelities=_array(folder / f"{name}-fidelity_values.npy"),
                values=_array(folder / f"{name}-{OBJECTIVES}"),
            )
    else:
        space = folder / FIDELITY_SPACE
        fidelity = _only(_json(space)) if space.is_file() else None
        for name in names:
            tasks[name] = read_parquet(folder / f"data-{name}.parquet").to_pandas()
    box = Box(
        domains=domains, objectives=objectives, metadata=metadata, tasks=tasks, fidelity=fidelity, seed=seed
    )
    _refuse_misfits(box, str(folder))
    return box


def from_objects(blackboxes: Mapping[str, Any]) -> Box:
    """Read Syne Tune's own objects.

    Args:
        blackboxes: Task name to ``BlackboxTabular`` or ``BlackboxOffline``.

    Returns:
        The blackbox.

    Raises:
        InputError: One of them holds no table, or they don't fit together.
    """
    tasks: dict[str, Table | pd.DataFrame] = {}
    if not blackboxes:
        raise InputError("there is no blackbox; give at least one task")
    for name, blackbox in blackboxes.items():
        if hasattr(blackbox, "objectives_evaluations"):
            tasks[name] = Table(
                hyperparameters=blackbox.hyperparameters,
                fidelities=np.asarray(blackbox.fidelity_values),
                values=np.asarray(blackbox.objectives_evaluations, dtype=float),
            )
        elif hasattr(blackbox, "df"):
            tasks[name] = blackbox.df.reset_index()
        else:
            raise InputError(
                f"the blackbox of {name} is a {type(blackbox).__name__}, which holds no table; "
                "give a BlackboxTabular or a BlackboxOffline"
            )
    first = next(iter(blackboxes.values()))
    fidelities = getattr(first, "fidelity_space", None)
    box = Box(
        domains=first.configuration_space,
        objectives=tuple(first.objectives_names),
        metadata={},
        tasks=tasks,
        fidelity=_only(fidelities) if fidelities else None,
        seed=getattr(first, "seed_col", None),
    )
    _refuse_misfits(box, "the blackbox")
    return box


def _refuse_misfits(box: Box, where: str) -> None:
    """Raise ``InputError`` if a task's table has not the shape or the columns that are declared."""
    for name, held in box.tasks.items():
        frame = held.hyperparameters if isinstance(held, Table) else held
        wanted = [*box.domains]
        if not isinstance(held, Table):
            wanted += [*box.objectives, *filter(None, (box.fidelity, box.seed))]
        missing = [column for column in wanted if column not in frame.columns]
        if missing:
            raise InputError(f"{where}: task {name} lacks the column {', '.join(missing)}")
        if isinstance(held, Table):
            shape = (len(frame), len(held.fidelities), len(box.objectives))
            if held.values.ndim != 4 or (held.values.shape[0], *held.values.shape[2:]) != shape:
                raise InputError(
                    f"{where}: task {name} has values of shape {held.values.shape}; declared are {shape[0]} "
                    f"configs, {shape[1]} fidelities and {shape[2]} objectives"
                )


def _only(space: Iterable[str]) -> str:
    names = list(space)
    if len(names) != 1:
        raise InputError(f"one fidelity can be read, the blackbox has {', '.join(names)}; fix all but one")
    return str(names[0])


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as err:
        raise InputError(f"{path.parent} is no blackbox of Syne Tune: {path.name}: {err}") from err
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no JSON object")
    return content


def _array(path: Path) -> Array:
    try:
        return np.asarray(np.load(path, allow_pickle=False), dtype=float)
    except (OSError, ValueError) as err:
        raise InputError(f"{path} can't be read as an array: {err}") from err
