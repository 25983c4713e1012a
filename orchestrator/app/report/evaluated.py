"""What `foretune evaluate` left beside a root, read back."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from orchestrator.contracts import InputError
from surrogates.data.store import read_meta
from surrogates.evaluation.regret import MOST_REGRET, regret_over_time, rulers
from surrogates.evaluation.replay import Replay, judged_tasks

_FILES = ("results.json", "trajectories.parquet", "measures.parquet")
_GRID = 120
"""Times in one panel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """A comparison of methods."""

    results: dict[str, Any]
    """As ``Evaluation.as_dict`` wrote it."""
    measures: pd.DataFrame
    """Of the clock that was asked for."""
    lines: pd.DataFrame
    """Regret over time: budget, method, time (in median full runs), regret (mean over tasks of the mean
    over seeds)."""
    notes: tuple[str, ...]

    @property
    def methods(self) -> list[dict[str, Any]]:
        """Each method's summary, the one with the lowest regret first."""
        clock = "with_own_time" if self.results["own_time"] else "without_own_time"
        return list(self.results["methods"][clock])


def read_evaluated(path: Path, folder: Path) -> Evaluated | None:
    """Read a comparison.

    Args:
        path: The root or the folder of tables that was replayed; regret is measured on what it holds now.
        folder: Where the comparison lies.

    Returns:
        The comparison; None where there is none.

    Raises:
        InputError: It is damaged.
    """
    if not all((folder / name).is_file() for name in _FILES):
        return None
    try:
        results = json.loads((folder / _FILES[0]).read_text())
        trajectories, measures = (pd.read_parquet(folder / name) for name in _FILES[1:])
        own_time = bool(results["own_time"])
        names = {method["name"] for method in results["methods"]["with_own_time"]}
        budgets = [float(budget) for budget in results["budgets"]]
        lines, notes = _lines(path, results, trajectories[trajectories["method"].isin(names)], budgets)
        measures = measures[measures["own_time"] == own_time]
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise InputError(
            f"the comparison in {folder} can't be read ({type(err).__name__}: {err}); make it anew with "
            f"`foretune evaluate {path}`"
        ) from err
    return Evaluated(results=results, measures=measures, lines=lines, notes=(*results["notes"], *notes))


def _lines(
    path: Path, results: dict[str, Any], trajectories: pd.DataFrame, budgets: list[float]
) -> tuple[pd.DataFrame, list[str]]:
    meta = read_meta(path, results["metric"])
    notes = []
    if (len(meta.trials), len(meta.points)) != (results["trials"], results["points"]):
        notes.append(
            f"the root has grown since: {results['trials']:,} trials were compared on, {len(meta.trials):,} "
            "are there now, and the regret over time is measured against the best of these"
        )
    compared = set(trajectories["task_id"])
    by_task = {
        task.task_id: rulers(meta, Replay(meta, task))
        for task in judged_tasks(meta, least=1)
        if task.task_id in compared
    }
    known = trajectories[trajectories["task_id"].isin(by_task)]
    parts = []
    for budget in budgets:
        grid = np.linspace(0.0, budget, _GRID + 1)[1:]
        line = regret_over_time(known, by_task, budget, grid, own_time=bool(results["own_time"]))
        parts.append(line.assign(budget=budget, regret=line["regret"].clip(upper=MOST_REGRET)))
    return pd.concat(parts, ignore_index=True), notes
