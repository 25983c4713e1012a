"""Syne Tune blackboxes as a meta-dataset."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from orchestrator.contracts import Config, InputError, Scalar, config_id
from surrogates.data.space import Space
from surrogates.interchange import curves as curves_of
from surrogates.interchange.records import CostKind, Imported, Reading
from surrogates.interchange.spaces import declare
from surrogates.interchange.supplement import KEY, Supplement
from surrogates.interchange.synetune_box import Box, Table, from_folder, from_objects
from surrogates.interchange.synetune_export import ELAPSED, EPOCH_COST
from surrogates.interchange.synetune_space import from_domains

_ELAPSED_NAMES = (ELAPSED, "elapsed_time")
"""Objectives that are seconds since the trial began wherever Syne Tune uses these names."""


def import_synetune(source: Path | str | Mapping[str, Any], reading: Reading) -> Imported:
    """Read blackboxes.

    Args:
        source: A folder with one blackbox of many tasks (tabular, or offline, or with one table a task), or
            task name to ``BlackboxTabular`` or ``BlackboxOffline``.
        reading: What the blackbox doesn't say. Its metric may be said by ``metadata.json``; so may the
            objective with the seconds, which is cumulative then.

    Returns:
        The meta-dataset. A value that is missing together with its seconds is no point; one that is not
        finite but has cost seconds is a failure.

    Raises:
        InputError: It is no blackbox, or what it doesn't say can't be told.
    """
    box = from_objects(source) if isinstance(source, Mapping) else from_folder(Path(source))
    if KEY in box.metadata:
        return _own(box, Supplement.parse(box.metadata[KEY]))
    metric = _metric(box, reading)
    cost, kind = _cost(box, reading)
    wanted = list(dict.fromkeys([metric, *reading.reports, cost]))
    unknown = [name for name in wanted if name not in box.objectives]
    if unknown:
        raise InputError(f"no objective {unknown[0]!r}; there are {', '.join(box.objectives)}")
    declared = declare(from_domains(box.domains))
    space = reading.space or declared
    frames: list[pd.DataFrame] = []
    configs: dict[str, Config] = {}
    for task, held in box.tasks.items():
        frame, found = _rows(box, held, space)
        frames.append(frame.assign(task_id=task))
        configs |= found
    points = pd.concat(frames, ignore_index=True)
    points = points[points[wanted].notna().any(axis=1)]
    points, notes = curves_of.numbered(points, "fidelity")
    points, more = curves_of.costed(points, cost, kind)
    points, last = curves_of.unmeasured_left_out(points, metric)
    return curves_of.from_strangers(
        points,
        configs,
        curves_of.decide_space(reading, declared, configs),
        reading,
        metric=metric,
        tasks=list(box.tasks),
        notes=[*notes, *more, *last],
    )


def _metric(box: Box, reading: Reading) -> str:
    metric = reading.metric or box.metadata.get("metric_default")
    if metric is None:
        raise InputError(
            f"the blackbox doesn't say which objective decides; add --metric, one of "
            f"{', '.join(box.objectives)}"
        )
    return str(metric)


def _cost(box: Box, reading: Reading) -> tuple[str, CostKind]:
    """Return the objective with the seconds, and what it counts, where that is sure."""
    said = box.metadata.get("metric_elapsed_time")
    named = [name for name in _ELAPSED_NAMES if name in box.objectives]
    cost = reading.cost or said or (named[0] if named else None)
    if cost is None:
        raise InputError(
            f"the blackbox doesn't say which objective is the seconds; add --cost, one of "
            f"{', '.join(box.objectives)}, and --cost-kind"
        )
    if reading.cost_kind is not None:
        return str(cost), reading.cost_kind
    if cost == said or cost in _ELAPSED_NAMES:
        return str(cost), CostKind.CUMULATIVE
    raise InputError(
        f"the blackbox doesn't say what {cost} counts; add --cost-kind cumulative (since the trial began) or "
        "epoch (of this fidelity alone)"
    )


def _rows(box: Box, held: Table | pd.DataFrame, space: Space) -> tuple[pd.DataFrame, Mapping[str, Config]]:
    """Return a task's points with config_id, seed and fidelity, and its configs."""
    names = list(box.domains)
    if isinstance(held, Table):
        configs = [space.restore(row) for row in _plain(held.hyperparameters[names])]
        ids = np.array([config_id(config) for config in configs], dtype=object)
        where = np.indices(held.values.shape[:-1]).reshape(3, -1)
        points = pd.DataFrame(held.values.reshape(-1, len(box.objectives)), columns=list(box.objectives))
        points["config_id"] = ids[where[0]]
        points["seed"] = where[1]
        points["fidelity"] = held.fidelities[where[2]]
    else:
        rows = held[names].drop_duplicates()
        configs = [space.restore(row) for row in _plain(rows)]
        ids = np.array([config_id(config) for config in configs], dtype=object)
        places = held.groupby(names, sort=False, dropna=False).ngroup().to_numpy()
        points = held[list(box.objectives)].astype(float).reset_index(drop=True)
        points["config_id"] = ids[places]
        points["seed"] = held[box.seed].to_numpy() if box.seed else 0
        points["fidelity"] = held[box.fidelity].to_numpy() if box.fidelity else 1
    return points, dict(zip(ids, configs, strict=True))


def _plain(frame: pd.DataFrame) -> list[dict[str, Scalar]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict(orient="records")]


def _own(box: Box, said: Supplement) -> Imported:
    """Read what an export of ours holds: by its own description, values from the tables."""
    config_ids, seeds, task_ids = said.rest["config_ids"], said.rest["seeds"], [t.task_id for t in said.tasks]
    configs: Mapping[str, Config] = {}
    frames = []
    ids = said.trials.set_index(["task_id", "config_id", "seed"])["trial_id"]
    for task_id, held in zip(task_ids, box.tasks.values(), strict=True):
        if not isinstance(held, Table):
            raise InputError(f"the object {KEY!r} belongs to a tabular blackbox; export the tables anew")
        configs = configs or _own_configs(held, said)
        where = np.argwhere(np.isfinite(held.values[..., box.objectives.index(EPOCH_COST)]))
        values = pd.DataFrame(held.values[tuple(where.T)], columns=list(box.objectives))
        keys = [(task_id, config_ids[c], seeds[s]) for c, s, _ in where]
        frames.append(
            values.assign(
                trial_id=ids.loc[keys].to_numpy() if keys else [],
                epoch=held.fidelities[where[:, 2]].astype(int),
                value=values[said.description.metric],
                cost_s=values[EPOCH_COST],
            )
        )
    points = pd.concat(frames, ignore_index=True).astype({"trial_id": "str", "epoch": "int64"})
    return Imported(meta=said.meta(points, configs), notes=())


def _own_configs(held: Table, said: Supplement) -> dict[str, Config]:
    configs: dict[str, Config] = {}
    rows = zip(said.rest["config_ids"], _plain(held.hyperparameters), said.rest["inactive"], strict=True)
    for key, row, inactive in rows:
        active = {name: value for name, value in row.items() if name not in inactive}
        texts = {name: json.loads(str(active[name])) for name in said.rest["texts"] if name in active}
        configs[key] = said.space.restore({**active, **texts})
    return configs
