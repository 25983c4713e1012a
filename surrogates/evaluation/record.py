"""What stands on record of one config on one task, as a replay of it needs it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from surrogates.data.normalisation import Array, to_loss
from surrogates.metadataset import MetaDataset


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One config's record on the task; E points, the last of which is the failure if it failed."""

    epochs: NDArray[np.int64]
    """Rising, shape ``(E,)``."""
    values: Array
    """The metric; NaN in the epoch that failed; shape ``(E,)``."""
    losses: Array
    """What may become the incumbent: the metric, minimised; ``inf`` throughout if the config failed."""
    cost_s: Array
    """Of each epoch alone, shape ``(E,)``."""
    reports: Array
    """Further metrics, shape ``(E, R)``."""
    failed: bool


def recorded_curve(meta: MetaDataset, points: pd.DataFrame, trial: Mapping[Any, Any]) -> Curve:
    """Return a trial's record, cut at the epoch that failed, or with that epoch added.

    Args:
        meta: Where it is recorded.
        points: The trial's points, by epoch.
        trial: Its row.

    Returns:
        The record, with at least one epoch.
    """
    epochs, values = points["epoch"].to_numpy(np.int64), points["value"].to_numpy(float)
    cost_s, reports = points["cost_s"].to_numpy(float), points[list(meta.reports)].to_numpy(float)
    failed = bool(trial["is_failure"])
    broken = np.flatnonzero(~np.isfinite(values))
    if broken.size:
        kept = slice(0, int(broken[0]) + 1)
        epochs, values, cost_s, reports = epochs[kept], values[kept].copy(), cost_s[kept], reports[kept]
        values[-1] = np.nan
    elif failed:
        # It failed in the epoch after its last point; what its points do not account for was spent there.
        rest_s = max(float(trial["cost_s"]) - float(cost_s.sum()), 0.0)
        epochs, values = np.append(epochs, (epochs[-1] if len(epochs) else 0) + 1), np.append(values, np.nan)
        cost_s = np.append(cost_s, rest_s)
        reports = np.vstack([reports, np.full((1, reports.shape[1]), np.nan)])
    losses = np.full(len(values), np.inf) if failed else to_loss(values, meta.direction)
    return Curve(epochs=epochs, values=values, losses=losses, cost_s=cost_s, reports=reports, failed=failed)


def median_cost_s(curves: Sequence[Curve]) -> float:
    """Return the median over configs of a full run's seconds; runs that failed or were stopped don't count.

    Args:
        curves: Of one task; at least one did not fail.

    Returns:
        Seconds.
    """
    worked = [curve for curve in curves if not curve.failed]
    longest = max(int(curve.epochs[-1]) for curve in worked)
    return float(np.median([curve.cost_s.sum() for curve in worked if curve.epochs[-1] == longest]))
