"""The cost model: seconds of a run up to any fidelity, positive.

The logarithm of a full run's seconds is a task's part plus a config's part. Seconds follow size in
proportion, far beyond the sizes seen, so the task's part is linear in the meta-features, in one of them or
in all, where that tells tasks left out better than the past tasks' middle does; trees could not extend it.
Where a task's workload is known (``surrogates.data.workload``) the line speaks only within what was seen, and
beyond it seconds follow the workload: a line through eight tasks of one length tells nothing of longer ones.
What is told is the middle of what may come, as likely too little as too much; how far off it was on past
tasks is kept beside it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.contracts import InputError
from surrogates.data.encoding import ConfigEncoder
from surrogates.data.normalisation import Array
from surrogates.data.workload import Beyond
from surrogates.models.kernel import KernelModel

_FEWEST_TASKS = 4
_CALIBRATION = (0.5, 2.0)
_RIDGES = (1.0, 10.0)
"""Penalties on the squared slopes of a line in all meta-features."""


@dataclass(frozen=True, slots=True)
class _Line:
    """A task's part of the log cost."""

    slopes: Array
    """One a meta-feature, shape ``(M,)``; all 0 where the past tasks' middle is all that is told."""
    offset: float

    def at(self, features: Array) -> Array:
        """Return the tasks' parts; shape ``(n,)`` for features of shape ``(n, M)``."""
        return np.asarray(self.offset + np.nan_to_num(features) @ self.slopes)  # z-scores: 0 is the mean


class CostModel:
    """Learned seconds.

    Args:
        encoder: Of configs.
        configs: Encoded configs, shape ``(C, D)``.
        features: Encoded meta-features, shape ``(T, M)``.
        full_cost_s: Seconds of a full run, NaN where none was timed, shape ``(T, C)``.
        shape: Share of them that is gone at a fidelity, shape ``(F,)``.
        seed: Of the draw among many trials.

    Raises:
        InputError: No epoch has a cost above 0.
    """

    def __init__(
        self,
        encoder: ConfigEncoder,
        configs: Array,
        features: Array,
        full_cost_s: Array,
        shape: Array,
        *,
        seed: int,
    ) -> None:
        if not (full_cost_s > 0).any():
            raise InputError(
                "no epoch has a cost above 0; give seconds, or 1 for every epoch where time is not known"
            )
        self._shape = shape
        logs = np.log(full_cost_s)
        timed = ~np.isnan(logs)
        centred = logs - np.nanmean(
            np.where(timed.any(axis=1, keepdims=True), logs, 0.0), axis=1, keepdims=True
        )
        # What a config costs is a smooth matter: a process tells it of configs that no task ran, too.
        nothing = np.zeros((len(logs), 0))
        self._kernel = KernelModel(
            encoder, configs, nothing, centred[:, :, None], seed=seed, leaves_out=False
        )
        self.config_parts = self.parts_of(configs, np.arange(len(configs)))
        """Log cost of each past config against its task's mean; shape ``(C,)``."""
        known = timed.any(axis=1)
        middles = np.nan_to_num(features[known])  # z-scores: 0 is the mean
        self._least, self._most = middles.min(axis=0), middles.max(axis=0)
        parts = np.array([np.nanmean(row - self.config_parts) for row in logs[known]])
        self._line, told = _choose_line(features[known], parts)
        ratios = np.array(
            [
                np.nansum(row) / np.exp(part + self.config_parts[~np.isnan(row)]).sum()
                for row, part in zip(full_cost_s[known], told, strict=True)
            ]
        )
        self._factor = float(np.clip(np.median(ratios), *_CALIBRATION))
        self.factors = np.ones(len(logs))
        """How many times dearer than told each past task was, its own times left out; shape ``(T,)``."""
        self.factors[known] = ratios / self._factor

    def parts_of(self, configs: Array, places: NDArray[np.int64]) -> Array:
        """Return the log cost of configs against their task's mean.

        Args:
            configs: Encoded, shape ``(P, D)``.
            places: Their positions among the past configs, -1 for fresh ones, shape ``(P,)``.

        Returns:
            Shape ``(P,)``.
        """
        return self._kernel.predict(self._kernel.project(configs, places), None)[:, 0]

    def seconds(self, parts: Array, features: Array, beyond: Beyond | None = None) -> Array:
        """Return seconds up to every fidelity.

        Args:
            parts: The configs' parts, shape ``(P,)``.
            features: The task's encoded meta-features, shape ``(M,)``.
            beyond: How far its workload lies beyond the past tasks'; None: not known.

        Returns:
            Positive and rising, shape ``(P, F)``.
        """
        beyond = beyond or Beyond()
        if not np.isnan(beyond.amount):
            features = features.clip(self._least, self._most)
        full = self._factor * beyond.seconds * np.exp(self._line.at(features[None, :])[0] + parts)
        return np.asarray(full[:, None] * self._shape)


def _choose_line(features: Array, parts: Array) -> tuple[_Line, Array]:
    """Return the line that tells tasks left out best, and what it told of each, left out."""
    width = features.shape[1]
    best, told = _flat(features, parts), np.array([_flat(features, part).offset for part in _others(parts)])
    if len(parts) < 2:
        return best, parts
    if len(parts) < _FEWEST_TASKS:
        return best, told
    errors, lowest = np.abs(told - parts), float(np.abs(told - parts).mean())
    lines = [_single(place) for place in range(width)]
    lines += [_ridge(penalty) for penalty in _RIDGES] if width > 1 else []
    left = [np.arange(len(parts)) != t for t in range(len(parts))]
    for line in lines:
        line_told = np.array(
            [line(features[kept], parts[kept]).at(features[t][None])[0] for t, kept in enumerate(left)]
        )
        line_errors = np.abs(line_told - parts)
        gain = errors - line_errors
        if gain.mean() > gain.std(ddof=1) / np.sqrt(len(parts)) and line_errors.mean() < lowest:
            best, told, lowest = line(features, parts), line_told, float(line_errors.mean())
    return best, told


def _others(parts: Array) -> list[Array]:
    """Return the parts without each in turn; itself where it is alone."""
    return [np.delete(parts, t) if len(parts) > 1 else parts for t in range(len(parts))]


def _flat(features: Array, parts: Array) -> _Line:
    return _Line(np.zeros(features.shape[1]), float(np.median(parts)))


def _single(place: int) -> Callable[[Array, Array], _Line]:
    """Return the fit of a line in one meta-feature."""

    def fit(features: Array, parts: Array) -> _Line:
        """Least squares."""
        values = np.nan_to_num(features[:, place])
        centred = values - values.mean()
        spread = float(centred @ centred)
        slopes = np.zeros(features.shape[1])
        slopes[place] = float(centred @ parts) / spread if spread > 1e-9 else 0.0
        return _Line(slopes, float(parts.mean() - slopes[place] * values.mean()))

    return fit


def _ridge(penalty: float) -> Callable[[Array, Array], _Line]:
    """Return the fit of a line in all meta-features."""

    def fit(features: Array, parts: Array) -> _Line:
        """Least squares with penalised slopes."""
        values = np.nan_to_num(features)
        centre = values.mean(axis=0)
        centred = values - centre
        gram = centred.T @ centred + penalty * np.eye(values.shape[1])
        slopes = np.linalg.solve(gram, centred.T @ (parts - parts.mean()))
        return _Line(slopes, float(parts.mean() - slopes @ centre))

    return fit
