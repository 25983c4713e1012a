"""How trials and configs stand within their tasks, in percent, so that tasks compare."""

import numpy as np
import pandas as pd

from orchestrator.app.report.source import Source


def standings(source: Source) -> pd.DataFrame:
    """Return how every ended trial did on its task.

    Args:
        source: What was read.

    Returns:
        The ended trials with two more columns: loss (the lowest; ``inf`` of a failure and of a trial
        without a point) and
        standing (share of the task's other ended trials that it beats, in percent; a tie is half a win).
    """
    ended = source.finished
    lowest = source.points.groupby("trial_id")["loss"].min()
    loss = (
        ended["trial_id"]
        .map(lowest)
        .astype(float)
        .fillna(np.inf)
        .mask(ended["is_failure"].astype(bool), np.inf)
    )
    stood = ended.assign(loss=loss)
    by_task = stood.groupby("task_id")["loss"]
    beaten = by_task.transform("size") - by_task.rank(method="average")
    others = (by_task.transform("size") - 1).clip(lower=1)
    return stood.assign(standing=100.0 * beaten / others)


def config_standings(stood: pd.DataFrame) -> pd.DataFrame:
    """Return how configs did over all tasks that they ran on, the best first.

    Args:
        stood: As ``standings`` returns it.

    Returns:
        A row a config: config_id, tasks, trials, failures, mean and worst standing, in percent.
    """
    by_task = stood.groupby(["config_id", "task_id"])["standing"].mean().reset_index()
    means = by_task.groupby("config_id")["standing"].agg(["mean", "min", "size"])
    counts = stood.groupby("config_id").agg(trials=("trial_id", "size"), failures=("is_failure", "sum"))
    whole = means.join(counts).rename(columns={"size": "tasks", "min": "worst"}).reset_index()
    # Who was run on few tasks only may have been lucky.
    return whole.sort_values(
        ["tasks", "mean", "config_id"], ascending=[False, False, True], ignore_index=True
    )
