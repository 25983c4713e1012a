"""What a foreign format has no place for, as a JSON object of our own: the space, the tasks, the outcomes.

Values, curves and costs are always read from the foreign tables themselves. Without the object, the tables
are read as those of a stranger.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from orchestrator.contracts import Config, InputError
from surrogates.data.description import Description
from surrogates.data.space import Space
from surrogates.data.tables import PastTask
from surrogates.metadataset import MetaDataset

KEY = "foretune"
"""Name of the object wherever it lies."""
_FORMAT = 1
_TRIALS = {
    "trial_id": "str",
    "task_id": "str",
    "config_id": "str",
    "seed": "int64",
    "outcome": "str",
    "is_failure": "bool",
    "cost_s": "float64",
}


def supplement(meta: MetaDataset, **rest: Any) -> dict[str, Any]:
    """Describe a meta-dataset.

    Args:
        meta: The meta-dataset.
        **rest: JSON-like facts of the format alone.

    Returns:
        JSON-like values; a meta-feature that was not measured is None.
    """
    return {
        "format": _FORMAT,
        **Description.of(meta).as_json(),
        "space": json.loads(meta.space.to_json()),
        "tasks": [
            {
                "task_id": task.task_id,
                "name": task.name,
                "features": {
                    key: None if math.isnan(value) else value for key, value in task.features.items()
                },
            }
            for task in meta.tasks
        ],
        "trials": {name: meta.trials[name].tolist() for name in _TRIALS},
        **rest,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Supplement:
    """A description that was read."""

    description: Description
    space: Space
    tasks: tuple[PastTask, ...]
    trials: pd.DataFrame
    """In the meta-dataset's columns."""
    rest: Mapping[str, Any]
    """What the format added."""

    @classmethod
    def parse(cls, content: Mapping[str, Any]) -> "Supplement":
        """Read a description.

        Args:
            content: As ``supplement`` made it.

        Returns:
            The description.

        Raises:
            InputError: It is of another format, or damaged.
        """
        if content.get("format") != _FORMAT:
            raise InputError(
                f"the object {KEY!r} is of format {content.get('format')!r}, this release reads {_FORMAT}; "
                "export the tables anew"
            )
        try:
            return cls(
                description=Description.parse(content),
                space=Space.from_json(json.dumps(content["space"])),
                tasks=tuple(_task(item) for item in content["tasks"]),
                trials=pd.DataFrame({name: content["trials"][name] for name in _TRIALS}).astype(_TRIALS),
                rest=content,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as err:
            raise InputError(
                f"the object {KEY!r} is damaged ({type(err).__name__}: {err}); export the tables anew"
            ) from err

    def without_reports(self) -> "Supplement":
        """Return the description for tables that hold the deciding metric alone."""
        return replace(self, description=replace(self.description, reports=()))

    def meta(self, points: pd.DataFrame, configs: Mapping[str, Config]) -> MetaDataset:
        """Return the meta-dataset with these points and configs."""
        return self.description.meta(
            points=points[["trial_id", "epoch", "value", "cost_s", *self.description.reports]],
            trials=self.trials,
            configs=configs,
            tasks=self.tasks,
            space=self.space,
        )


def _task(item: Mapping[str, Any]) -> PastTask:
    features = {key: math.nan if value is None else float(value) for key, value in item["features"].items()}
    return PastTask(task_id=str(item["task_id"]), name=str(item["name"]), features=features)
