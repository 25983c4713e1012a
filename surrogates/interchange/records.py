"""What goes into an import and what comes out of imports and exports."""

import enum
from dataclasses import dataclass

import pandas as pd

from orchestrator.contracts import InputError
from surrogates.data.space import Space
from surrogates.metadataset import MetaDataset


class CostKind(enum.StrEnum):
    """What a foreign column of seconds counts."""

    CUMULATIVE = "cumulative"
    """All seconds since the trial began."""
    EPOCH = "epoch"
    """The seconds of this epoch alone."""
    TOTAL = "total"
    """The seconds of the whole trial, one number a trial."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What foreign tables don't say of themselves, or are to be read as. None: what they say."""

    metric: str | None = None
    direction: str | None = None
    """``minimise`` or ``maximise``."""
    cost: str | None = None
    """Column or attribute with the seconds."""
    cost_kind: CostKind | None = None
    reports: tuple[str, ...] = ()
    """Further metrics that predictions are also given in."""
    features: pd.DataFrame | None = None
    """Meta-features: column task_id with the foreign names of the tasks, and numbers."""
    space: Space | None = None
    """The declared space."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A meta-dataset from elsewhere."""

    meta: MetaDataset
    notes: tuple[str, ...]
    """What was left out, changed or assumed, each with why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """Files for another tool."""

    files: tuple[str, ...]
    """Names in the folder."""
    notes: tuple[str, ...]
    """What the format has no place for."""


def task_frame(names: list[str], features: pd.DataFrame | None) -> pd.DataFrame:
    """Return a frame of tasks, with their meta-features where some are given.

    Args:
        names: The tasks' foreign names, each once; they become their ids.
        features: As ``Reading.features``.

    Returns:
        One row a task: task_id and the meta-features.

    Raises:
        InputError: The meta-features have no column task_id, a task twice, or none of these tasks.
    """
    tasks = pd.DataFrame({"task_id": names})
    if features is None:
        return tasks
    if "task_id" not in features.columns:
        raise InputError("the meta-features have no column task_id; name the tasks there")
    given = features.assign(task_id=features["task_id"].astype(str))
    if given["task_id"].duplicated().any():
        raise InputError(f"the meta-features have {given['task_id'].duplicated().sum()} tasks twice")
    if not set(names) & set(given["task_id"]):
        raise InputError(
            f"the meta-features are about {', '.join(given['task_id'][:3])}, the curves about "
            f"{', '.join(names[:3])}; name the tasks alike"
        )
    numbers = given.select_dtypes(["number", "bool"]).astype(float)
    return tasks.merge(numbers.assign(task_id=given["task_id"]), on="task_id", how="left")
