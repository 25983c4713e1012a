"""The cost model: seconds of a run up to any fidelity, positive, right on the scale of seconds.

The logarithm of a full run's seconds is a task's part plus a config's part. Seconds follow size in
proportion, far beyond the sizes seen, so the task's part is a line on one meta-feature where that tells tasks
left out better than the past tasks' mean does; trees could not extend it.
"""

from dataclasses import dataclass

import numpy as np

from orchestrator.contracts import InputError
from surrogates.data.normalisation import Array
from surrogates.models.boosting import ROUNDS, Booster

_FEWEST_TASKS = 4
_PSEUDO_TASKS = 1.0
_CALIBRATION = (0.5, 2.0)


@dataclass(frozen=True, slots=True)
class _Line:
    """A task's part of the log cost; ``feature`` None is the mean."""

    feature: int | None
    slope: float
    offset: float

    def at(self, features: Array) -> Array:
        """Return the task's parts; shape ``(n,)`` for features of shape ``(n, M)``."""
        if self.feature is None:
            return np.full(len(features), self.offset)
        known = np.nan_to_num(features[:, self.feature], nan=0.0)  # z-scores: 0 is the mean
        return self.offset + self.slope * known


class CostModel:
    """Learned seconds.

    Args:
        configs: Encoded configs, shape ``(C, D)``.
        features: Encoded meta-features, shape ``(T, M)``.
        full_cost_s: Seconds of a full run, NaN where none was timed, shape ``(T, C)``.
        shape: Share of them that is gone at a fidelity, shape ``(F,)``.
        seed: Of the trees.

    Raises:
        InputError: No epoch has a cost above 0.
    """

    def __init__(
        self, configs: Array, features: Array, full_cost_s: Array, shape: Array, *, seed: int
    ) -> None:
        if not (full_cost_s > 0).any():
            raise InputError(
                "no epoch has a cost above 0; give seconds, or 1 for every epoch where time is not known"
            )
        self._shape = shape
        logs = np.log(full_cost_s)
        timed = ~np.isnan(logs)
        tasks, columns = np.nonzero(timed)
        centred = logs - np.nanmean(
            np.where(timed.any(axis=1, keepdims=True), logs, 0.0), axis=1, keepdims=True
        )
        self._booster = Booster(configs[columns], centred[tasks, columns], rounds=ROUNDS[2], seed=seed)
        self._predicted_parts = self._booster.predict(configs)
        counts = timed.sum(axis=0)
        recorded = np.divide(
            np.nansum(np.where(timed, centred, 0.0), axis=0),
            counts,
            out=np.zeros(len(configs)),
            where=counts > 0,
        )
        self.config_parts = (counts * recorded + _PSEUDO_TASKS * self._predicted_parts) / (
            counts + _PSEUDO_TASKS
        )
        """Log cost of each past config against its task's mean; shape ``(C,)``."""
        known = timed.any(axis=1)
        parts = np.array([np.nanmean(row - self.config_parts) for row in logs[known]])
        self._line, told = _choose_line(features[known], parts)
        ratios = np.array(
            [
                np.nansum(row) / np.exp(part + self.config_parts[~np.isnan(row)]).sum()
                for row, part in zip(full_cost_s[known], told, strict=True)
            ]
        )
        self._factor = float(np.clip(ratios.mean(), *_CALIBRATION))
        self.factors = np.ones(len(logs))
        """How many times dearer than told each past task was, its own times left out; shape ``(T,)``."""
        self.factors[known] = ratios / self._factor

    def parts_of(self, configs: Array) -> Array:
        """Return the log cost of fresh configs against their task's mean; shape ``(P,)``."""
        return self._booster.predict(configs)

    def seconds(self, parts: Array, features: Array) -> Array:
        """Return seconds up to every fidelity.

        Args:
            parts: The configs' parts, shape ``(P,)``.
            features: The task's encoded meta-features, shape ``(M,)``.

        Returns:
            Positive and rising, shape ``(P, F)``.
        """
        full = self._factor * np.exp(self._line.at(features[None, :])[0] + parts)
        return np.asarray(full[:, None] * self._shape)


def _choose_line(features: Array, parts: Array) -> tuple[_Line, Array]:
    """Return the line that tells tasks left out best, and what it told of each, left out."""
    flat = _Line(None, 0.0, float(parts.mean()))
    if len(parts) < 2:
        return flat, parts
    told = (parts.sum() - parts) / (len(parts) - 1)
    errors = (told - parts) ** 2
    best, best_told, lowest = flat, told, errors.mean()
    if len(parts) < _FEWEST_TASKS:
        return best, best_told
    for feature in range(features.shape[1]):
        line_told = np.array(
            [_line(features, parts, feature, leave_out=t).at(features)[t] for t in range(len(parts))]
        )
        line_errors = (line_told - parts) ** 2
        gain = errors - line_errors
        if gain.mean() > gain.std(ddof=1) / np.sqrt(len(parts)) and line_errors.mean() < lowest:
            best, best_told, lowest = _line(features, parts, feature), line_told, line_errors.mean()
    return best, best_told


def _line(features: Array, parts: Array, feature: int, leave_out: int | None = None) -> _Line:
    kept = np.arange(len(parts)) != leave_out
    values = np.nan_to_num(features[kept, feature], nan=0.0)
    targets = parts[kept]
    centred = values - values.mean()
    spread = float(centred @ centred)
    slope = float(centred @ targets) / spread if spread > 1e-9 else 0.0
    return _Line(feature, slope, float(targets.mean()) - slope * float(values.mean()))
