"""Live trials as the curves that a method's steps are answered with."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from orchestrator.app.live.control import Row
from orchestrator.app.live.trials import LiveTrials
from orchestrator.contracts import Config, ConfigId, config_id
from surrogates.data.normalisation import Array, to_loss
from surrogates.evaluation.loop import Epoch
from surrogates.metadataset import MetaDataset
from surrogates.stepwise import Problem


class LiveCurves:
    """Curves that are trained when they are asked for; see ``surrogates.evaluation.loop.Curves``.

    Args:
        past: What the methods learn from; its metric, reports and space hold here too.
        trials: Of the task.
        configs: The candidates.
        max_epochs: The most that can be asked for.
    """

    def __init__(
        self, past: MetaDataset, trials: LiveTrials, configs: Sequence[Config], max_epochs: int
    ) -> None:
        self._past, self._trials = past, trials
        self._configs = tuple(configs)
        self._ids = tuple(config_id(config) for config in configs)
        self._max_epochs = max_epochs

    @property
    def candidates(self) -> tuple[str, ...]:
        """Ids of the configs."""
        return self._ids

    @property
    def reports(self) -> tuple[str, ...]:
        """Names of the further metrics."""
        return self._past.reports

    def problem(self, budget_s: float) -> Problem:
        """Return what a method may know of the task."""
        return Problem(
            features=self._trials.task.features,
            candidates=self._configs,
            budget_s=budget_s,
            max_epochs=self._max_epochs,
            direction=self._past.direction,
        )

    def epochs(self, candidate: int, *, after: int, until: int, within_s: float) -> Iterator[Epoch]:
        """Train a candidate on, and return its new epochs."""
        key, reached = ConfigId(self._ids[candidate]), after
        for row in self._trials.rows(key, after=after, until=until, within_s=within_s):
            reached = int(row["epoch"])
            yield self._epoch(row)
        end = self._trials.end(key)
        if end is not None and end.is_failure and after <= end.epochs == reached < until:
            nothing = np.full(len(self.reports), np.nan)
            yield Epoch(epoch=end.epochs + 1, value=np.nan, loss=np.inf, cost_s=end.cost_s, reports=nothing)

    def is_over(self, candidate: int, epochs: int) -> bool:
        """Return whether a candidate that was asked for this epoch ended before it."""
        end = self._trials.end(ConfigId(self._ids[candidate]))
        return end is not None and end.epochs < epochs

    def _epoch(self, row: Row) -> Epoch:
        value = float(row[self._past.metric])
        loss = float(to_loss(np.array(value), self._past.direction))
        return Epoch(
            epoch=int(row["epoch"]),
            value=value,
            loss=loss if np.isfinite(loss) else np.inf,
            cost_s=self._trials.seconds(row),
            reports=reports_of(row, self.reports),
        )


def reports_of(row: Mapping[str, Any], names: Sequence[str]) -> Array:
    """Return a row's further metrics, NaN where it has none; shape ``(R,)``."""
    return np.array([np.nan if row[name] is None else row[name] for name in names], dtype=float)
