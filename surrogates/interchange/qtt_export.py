"""A meta-dataset as the four CSV tables that Quick-Tune's tool (qtt) is metatrained on, a row a trial."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from orchestrator.contracts import InputError
from surrogates.data.folders import whole_folder
from surrogates.data.normalisation import Array, Direction
from surrogates.data.space import Parameter
from surrogates.interchange.records import Exported
from surrogates.interchange.spaces import needs_text, to_text
from surrogates.interchange.supplement import KEY, supplement
from surrogates.metadataset import MetaDataset

CONFIG, META, COST, CURVE = "config.csv", "meta.csv", "cost.csv", "curve.csv"
SUPPLEMENT = f"{KEY}.json"
_FILES = (CONFIG, META, COST, CURVE, SUPPLEMENT)


def export_qtt(meta: MetaDataset, folder: Path | str, *, replace: bool = False) -> Exported:
    """Write config.csv, meta.csv, cost.csv and curve.csv, and beside them what they have no place for.

    qtt maximises scores between 0 and 1: a metric that is minimised is written as ``1 / (1 + value)``.

    Args:
        meta: The meta-dataset.
        folder: Missing or empty; with ``replace`` also an earlier export.
        replace: Whether an earlier export may be replaced.

    Returns:
        What was written, and what the format has no place for.

    Raises:
        InputError: The folder can't be written, or a metric that is minimised has a negative value.
    """
    rows = pd.RangeIndex(1, len(meta.trials) + 1)
    scores, notes = _scores(meta)
    where = pd.Index(meta.trials["trial_id"]).get_indexer(pd.Index(meta.points["trial_id"]))
    cells = np.full((len(rows), meta.max_epochs), None, dtype=object)
    # An empty cell is no point; one that is not finite is written out.
    cells[where, meta.points["epoch"].to_numpy() - 1] = [
        score if np.isfinite(score) else str(score) for score in scores.tolist()
    ]
    spent = meta.points.groupby("trial_id")["cost_s"].sum().reindex(meta.trials["trial_id"]).to_numpy()
    configs = [meta.configs[key] for key in meta.trials["config_id"]]
    columns = {
        item.name: [_cell(item, config[item.name]) if item.name in config else None for config in configs]
        for item in meta.space.parameters
    }
    features = {task.task_id: dict(task.features) for task in meta.tasks}
    tables = {
        CONFIG: pd.DataFrame(columns, index=rows, dtype=object),
        META: pd.DataFrame([features[task_id] for task_id in meta.trials["task_id"]], index=rows),
        COST: pd.DataFrame({"cost": np.where(np.isnan(spent), meta.trials["cost_s"], spent)}, index=rows),
        CURVE: pd.DataFrame(cells, index=rows, columns=range(1, meta.max_epochs + 1)),
    }
    texts = [item.name for item in meta.space.parameters if is_text(item)]
    described = supplement(meta, rows=meta.trials["trial_id"].tolist(), texts=texts)
    with whole_folder(Path(folder), names=_FILES, replace=replace) as aside:
        for name, table in tables.items():
            table.to_csv(aside / name)
        (aside / SUPPLEMENT).write_text(json.dumps(described))
    if meta.reports:
        notes.append(f"left out: {', '.join(meta.reports)}; qtt's curves have one metric")
    notes.append("the seconds of every epoch are summed over a trial: qtt's cost is one number")
    return Exported(files=_FILES, notes=tuple(notes))


def is_text(parameter: Parameter) -> bool:
    """Return whether a parameter's cells are JSON texts; an empty cell is an inactive name."""
    return needs_text(parameter) or "" in parameter.choices


def to_score(losses: Array) -> Array:
    """Turn values that are minimised, from 0, to scores that are maximised, in [0, 1]."""
    return np.asarray(1.0 / (1.0 + losses))


def from_score(scores: Array) -> Array:
    """Invert ``to_score``; 0 becomes ``inf``."""
    with np.errstate(divide="ignore"):
        return np.asarray(1.0 / scores - 1.0)


def _scores(meta: MetaDataset) -> tuple[Array, list[str]]:
    values = meta.points["value"].to_numpy(float)
    if meta.direction is Direction.MINIMISE:
        if (values < 0).any():
            raise InputError(
                f"{meta.metric} is minimised and has the value {np.nanmin(values):g}; qtt takes scores "
                "from 0 to 1, into which only values from 0 on can be turned"
            )
        scores, notes = to_score(values), [f"curve.csv holds 1 / (1 + {meta.metric}), since qtt maximises"]
    else:
        outside = int((np.isfinite(values) & ((values < 0) | (values > 1))).sum())
        scores, notes = values, []
        if outside:
            notes.append(f"{outside} points of {meta.metric} are not between 0 and 1, as qtt assumes")
    return scores, notes


def _cell(parameter: Parameter, value: object) -> object:
    return to_text(value) if is_text(parameter) else value  # type: ignore[arg-type]  # a config's scalar
