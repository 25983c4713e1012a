"""What a meta-dataset says of itself beside its tables, as JSON and back."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from orchestrator.contracts import Config, InputError
from surrogates.data.normalisation import Direction
from surrogates.data.space import Space
from surrogates.data.tables import PastTask, refuse_unknown
from surrogates.data.workload import Workload
from surrogates.metadataset import MetaDataset


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """The fields of a meta-dataset that are no tables, under the same names."""

    metric: str
    direction: Direction
    reports: tuple[str, ...] = ()
    base_fingerprints: tuple[str, ...] = ()
    learned_features: tuple[str, ...] | None = None
    machine_features: tuple[str, ...] = ()
    workload: Workload | None = None

    @classmethod
    def of(cls, meta: MetaDataset) -> "Description":
        """Return a meta-dataset's description."""
        return cls(
            metric=meta.metric,
            direction=meta.direction,
            reports=meta.reports,
            base_fingerprints=meta.base_fingerprints,
            learned_features=meta.learned_features,
            machine_features=meta.machine_features,
            workload=meta.workload,
        )

    @classmethod
    def parse(cls, content: Mapping[str, Any]) -> "Description":
        """Read a description.

        Args:
            content: As ``as_json`` made it, other names beside it allowed.

        Returns:
            The description.

        Raises:
            InputError: A name is missing, or has a value that can't be.
        """
        missing = [name for name in ("metric", "direction", "reports") if name not in content]
        if missing:
            raise InputError(f"{', '.join(missing)} is missing; write the tables anew")
        if content["direction"] not in tuple(Direction):
            raise InputError(f"direction must be {' or '.join(Direction)}, got {content['direction']!r}")
        learned = content.get("learned_features")
        return cls(
            metric=str(content["metric"]),
            direction=Direction(content["direction"]),
            reports=_names(content, "reports"),
            base_fingerprints=_names(content, "base_fingerprints"),
            learned_features=None if learned is None else _names(content, "learned_features"),
            machine_features=_names(content, "machine_features"),
            workload=_workload(content.get("workload")),
        )

    def as_json(self) -> dict[str, Any]:
        """Return the description as JSON-like values."""
        return asdict(self) | {"direction": self.direction.value}

    def meta(
        self,
        *,
        points: pd.DataFrame,
        trials: pd.DataFrame,
        configs: Mapping[str, Config],
        tasks: Sequence[PastTask],
        space: Space,
    ) -> MetaDataset:
        """Put a meta-dataset together.

        Args:
            points: One row a point, in the meta-dataset's columns.
            trials: One row a trial, likewise.
            configs: Config id to config.
            tasks: All that trials refer to.
            space: The declared space.

        Returns:
            The meta-dataset, in its own order of rows.

        Raises:
            InputError: A row refers to what is not there, or comes twice.
        """
        refuse_unknown("task", sorted(set(trials["task_id"]) - {task.task_id for task in tasks}), "tasks")
        refuse_unknown("config", sorted(set(trials["config_id"]) - set(configs)), "configs")
        refuse_unknown("trial", sorted(set(points["trial_id"]) - set(trials["trial_id"])), "trials")
        for what, twice in (
            ("trial", trials["trial_id"].duplicated()),
            ("point", points.duplicated(["trial_id", "epoch"])),
        ):
            if twice.any():
                raise InputError(f"{int(twice.sum())} {what}s come twice; each must come once")
        return MetaDataset(
            points=points.sort_values(["trial_id", "epoch"], ignore_index=True),
            trials=trials.sort_values(["task_id", "config_id", "seed", "trial_id"], ignore_index=True),
            configs=dict(configs),
            tasks=tuple(sorted(tasks, key=lambda task: task.task_id)),
            space=space,
            metric=self.metric,
            direction=self.direction,
            reports=self.reports,
            base_fingerprints=self.base_fingerprints,
            learned_features=self.learned_features,
            machine_features=self.machine_features,
            workload=self.workload,
        )


def _names(content: Mapping[str, Any], key: str) -> tuple[str, ...]:
    names = content.get(key, ())
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{key} must be a list of names, got {names!r}; write the tables anew")
    return tuple(names)


def _workload(content: object) -> Workload | None:
    if content is None:
        return None
    match content:
        case {"amounts": list() as amounts, "speed": str() | None as speed}:
            names = [_names({"amounts": part}, "amounts") for part in amounts]
            return Workload(amounts=tuple(names), speed=speed)
    raise InputError(f"workload must name amounts and speed, got {content!r}; write the tables anew")
