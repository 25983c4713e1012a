"""Configs and meta-features as matrices. Missing means inactive or not measured, everywhere NaN."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from orchestrator.contracts import Config, Scalar
from surrogates.data.normalisation import Array
from surrogates.data.space import Parameter, Space, is_number, matching_choice

_TINY_SPREAD = 1e-9


class ConfigEncoder:
    """Encodes configs of a declared space, every column scaled to about [0, 1].

    A range is one column, on a logarithmic scale where it is declared so. Ordered choices are one column of
    positions; a number between two choices lies between them. Other choices are one column each, so that
    every one of them enters; a value that was never declared is 0 in all of them. An inactive name is NaN in
    all its columns.

    Args:
        space: The declared space; fixed names take no column.
    """

    def __init__(self, space: Space) -> None:
        self._parameters = [item for item in space.parameters if len(item.choices) != 1]
        widths = [1 if _is_line(item) else len(item.choices) for item in self._parameters]
        self.width = sum(widths)
        self.names = tuple(
            item.name for item, n in zip(self._parameters, widths, strict=True) for _ in range(n)
        )
        """Of each column, the hyperparameter that it tells of; shape ``(width,)``."""
        self._starts = np.cumsum([0, *widths])
        # Two different choices differ in two columns: halved, they are as far apart as the ends of a range.
        self._weights = np.array([1.0 if width == 1 else 0.5 for width in widths for _ in range(width)])
        self._shares = np.array([1.0 / width for width in widths for _ in range(width)])
        self._count = max(len(self._parameters), 1)

    def encode(self, configs: Sequence[Config]) -> Array:
        """Encode configs.

        Args:
            configs: Names to values; names left out are inactive.

        Returns:
            Shape ``(len(configs), width)``.
        """
        matrix = np.full((len(configs), self.width), np.nan)
        for row, config in enumerate(configs):
            for parameter, start in zip(self._parameters, self._starts, strict=False):
                if parameter.name in config:
                    self._write(matrix[row], int(start), parameter, config[parameter.name])
        return matrix

    def distances(self, left: Array, right: Array) -> Array:
        """Return how far apart configs are: the mean over names of a difference in [0, 1].

        Args:
            left: Encoded configs, shape ``(n, width)``.
            right: Encoded configs, shape ``(m, width)``.

        Returns:
            Shape ``(n, m)``; 0 for equal configs; a name active in one config only counts 1.
        """
        total = np.zeros((len(left), len(right)))
        for column, (weight, share) in enumerate(zip(self._weights, self._shares, strict=True)):
            a, b = left[:, column, None], right[None, :, column]
            apart = np.minimum(np.abs(a - b), 1.0)
            total += np.where(np.isnan(apart), share * (np.isnan(a) != np.isnan(b)), weight * apart)
        return total / self._count

    def differences(self, left: Array, right: Array) -> Array:
        """Return squared differences by name.

        Args:
            left: Encoded configs, shape ``(n, width)``.
            right: Encoded configs, shape ``(m, width)``.

        Returns:
            Shape ``(names, n, m)``, 1 between the ends of a range, between two different choices, and where a
            name is active in one config only.
        """
        return np.stack([self._squares(left, right, place) for place in range(len(self._parameters))])

    def scaled_squares(self, left: Array, right: Array, scales: Array) -> Array:
        """Return the sum over names of squared differences, each in units of its scale.

        Args:
            left: Encoded configs, shape ``(n, width)``.
            right: Encoded configs, shape ``(m, width)``.
            scales: One a name, positive.

        Returns:
            Shape ``(n, m)``.
        """
        total = np.zeros((len(left), len(right)))
        for place, scale in enumerate(scales):
            total += self._squares(left, right, place) / scale**2
        return total

    def _squares(self, left: Array, right: Array, place: int) -> Array:
        columns = slice(int(self._starts[place]), int(self._starts[place + 1]))
        a, b = left[:, columns], right[:, columns]
        absent_a, absent_b = np.isnan(a[:, 0]), np.isnan(b[:, 0])
        if _is_line(self._parameters[place]):
            squares = (a - b.T) ** 2
        else:
            squares = 1.0 - np.nan_to_num(a) @ np.nan_to_num(b).T
        one_only = absent_a[:, None] != absent_b[None, :]
        neither = absent_a[:, None] & absent_b[None, :]
        return np.where(one_only, 1.0, np.where(neither, 0.0, squares))

    def _write(self, row: Array, start: int, parameter: Parameter, value: Scalar) -> None:
        if _is_line(parameter):
            row[start] = _position(parameter, value)
            return
        row[start : start + len(parameter.choices)] = 0.0
        place = matching_choice(value, parameter.choices)
        if place is not None:
            row[start + place] = 1.0


@dataclass(frozen=True, slots=True)
class FeatureEncoder:
    """Encodes meta-features: sign-keeping log1p, then z-scores over the training tasks."""

    names: tuple[str, ...]
    """In order; features that are equal on all training tasks are left out."""
    means: Array
    spreads: Array

    @classmethod
    def fitted(
        cls, tasks: Sequence[Mapping[str, float]], names: Collection[str] | None = None
    ) -> "FeatureEncoder":
        """Learn means and spreads from the training tasks' meta-features.

        Args:
            tasks: One mapping a task.
            names: Those to encode; None: all that a task has.

        Returns:
            The encoder.
        """
        names = sorted({name for features in tasks for name in features} if names is None else set(names))
        raw = _log_matrix(tasks, names)
        kept, means, spreads = [], [], []
        for column, name in enumerate(names):
            known = raw[~np.isnan(raw[:, column]), column]
            if known.size > 1 and known.std() > _TINY_SPREAD:
                kept.append(name)
                means.append(known.mean())
                spreads.append(known.std())
        return cls(tuple(kept), np.array(means), np.array(spreads))

    def encode(self, tasks: Sequence[Mapping[str, float]]) -> Array:
        """Encode meta-features; unknown names are ignored, missing ones become NaN.

        Args:
            tasks: One mapping a task.

        Returns:
            Shape ``(len(tasks), len(names))``.
        """
        return (_log_matrix(tasks, self.names) - self.means) / self.spreads


def _log_matrix(tasks: Sequence[Mapping[str, float]], names: Sequence[str]) -> Array:
    raw = np.array([[features.get(name, np.nan) for name in names] for features in tasks], dtype=float)
    raw = np.where(np.isfinite(raw), raw, np.nan).reshape(len(tasks), len(names))
    return np.asarray(np.sign(raw) * np.log1p(np.abs(raw)))


def _is_line(parameter: Parameter) -> bool:
    return not parameter.choices or parameter.is_ordered


def _position(parameter: Parameter, value: Scalar) -> float:
    """Return where a value lies between the ends of its range or among its choices; NaN if it can't."""
    if parameter.choices:
        place = matching_choice(value, parameter.choices)
        if place is None:
            numbers = [float(choice) for choice in parameter.choices if is_number(choice)]
            if not is_number(value) or len(numbers) != len(parameter.choices) or numbers != sorted(numbers):
                return np.nan
            return float(np.interp(value, numbers, np.linspace(0.0, 1.0, len(numbers))))
        return place / max(len(parameter.choices) - 1, 1)
    if not is_number(value):
        return np.nan
    low, high, number = parameter.low, parameter.high, float(value)
    if parameter.is_log:
        if number <= 0:
            return np.nan
        low, high, number = np.log(low), np.log(high), np.log(number)
    return float((number - low) / (high - low)) if high > low else 0.0
