"""Configs as the libraries of other methods know them, and back to the candidates that can be run.

Their spaces have no conditions as ours have: every name has a value there, an inactive one its default. A
library's value is a number for a range, a position for a list of choices.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.contracts import Config, Scalar
from surrogates.data.encoding import ConfigEncoder
from surrogates.data.normalisation import Array
from surrogates.data.space import Parameter, Space, is_number, matching_choice


class Conversion:
    """Between a declared space and those of the libraries; names with one value only are left out.

    Args:
        space: The declared space.
    """

    def __init__(self, space: Space) -> None:
        self._parameters = [item for item in space.parameters if len(item.choices) != 1]
        declared = space.default()
        self._defaults = {
            item.name: _default(item, declared.get(item.name, math.nan)) for item in self._parameters
        }

    @property
    def names(self) -> tuple[str, ...]:
        """Names that have a value in every library's config."""
        return tuple(item.name for item in self._parameters)

    def values(self, config: Config) -> dict[str, float | int]:
        """Return a config as the libraries know it.

        Args:
            config: Any config of the space; a value outside its range is drawn to the nearest end, one that
                is no declared choice to the nearest number among them, or to the default.

        Returns:
            A number or a position for every name.
        """
        return {
            item.name: _value(item, config[item.name], self._defaults[item.name])
            if item.name in config
            else self._defaults[item.name]
            for item in self._parameters
        }

    def config(self, values: Mapping[str, float | int]) -> dict[str, Scalar]:
        """Return what a library proposes as a config; inactive names have values too."""
        return {
            item.name: item.choices[int(values[item.name])]
            if item.choices
            else (round(values[item.name]) if item.is_integer else float(values[item.name]))
            for item in self._parameters
        }

    def to_unit(self, config: Config) -> Array:
        """Return a config as a point of the unit cube; shape ``(max(names, 1),)``, choices evenly spaced."""
        values = self.values(config)
        point = np.full(max(len(self._parameters), 1), 0.5)
        for axis, item in enumerate(self._parameters):
            value = float(values[item.name])
            if item.choices:
                point[axis] = (value + 0.5) / len(item.choices)
            else:
                low, high = _ends(item)
                number = np.log(value) if item.is_log else value
                point[axis] = (number - low) / (high - low) if high > low else 0.5
        return np.asarray(np.clip(point, 0.0, 1.0))

    def from_unit(self, point: Array) -> dict[str, Scalar]:
        """Return a point of the unit cube as a config; the inverse of ``to_unit`` but for inactive names."""
        values: dict[str, float | int] = {}
        for axis, item in enumerate(self._parameters):
            share = float(np.clip(point[axis], 0.0, 1.0))
            if item.choices:
                values[item.name] = min(int(share * len(item.choices)), len(item.choices) - 1)
            else:
                low, high = _ends(item)
                number = low + share * (high - low)
                values[item.name] = float(
                    np.clip(np.exp(number) if item.is_log else number, item.low, item.high)
                )
        return self.config(values)

    def optuna_distributions(self) -> dict[str, Any]:
        """Return the space as Optuna's distributions by name."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        found: dict[str, Any] = {}
        for item in self._parameters:
            if item.choices and not item.is_ordered:
                found[item.name] = CategoricalDistribution(tuple(range(len(item.choices))))
            elif item.choices:
                found[item.name] = IntDistribution(0, len(item.choices) - 1)
            elif item.is_integer:
                found[item.name] = IntDistribution(int(item.low), int(item.high), log=item.is_log)
            else:
                found[item.name] = FloatDistribution(item.low, item.high, log=item.is_log)
        return found

    def synetune_space(self) -> dict[str, Any]:
        """Return the space as Syne Tune's domains by name."""
        from syne_tune.config_space import choice, lograndint, loguniform, randint, uniform

        found: dict[str, Any] = {}
        for item in self._parameters:
            if item.choices and not item.is_ordered:
                found[item.name] = choice(list(range(len(item.choices))))
            elif item.choices:
                found[item.name] = randint(0, len(item.choices) - 1)
            elif item.is_integer:
                kind = lograndint if item.is_log else randint
                found[item.name] = kind(int(item.low), int(item.high))
            else:
                found[item.name] = (loguniform if item.is_log else uniform)(item.low, item.high)
        return found


class NearestCandidate:
    """Finds the candidate that a library's proposal stands for.

    Args:
        space: The declared space.
        conversion: Of that space.
        candidates: At least one.
    """

    def __init__(self, space: Space, conversion: Conversion, candidates: Sequence[Config]) -> None:
        self._encoder = ConfigEncoder(space)
        complete = [conversion.config(conversion.values(config)) for config in candidates]
        self._encoded = self._encoder.encode(complete)

    def find(self, proposal: Config, allowed: NDArray[np.bool_]) -> int:
        """Find the nearest candidate.

        Args:
            proposal: As ``Conversion`` returns it.
            allowed: Which candidates may be found, at least one; shape ``(P,)``.

        Returns:
            Its position; of several as near, the first.
        """
        places = np.flatnonzero(allowed)
        distances = self._encoder.distances(self._encoder.encode([proposal]), self._encoded[places])
        return int(places[np.argmin(distances[0])])


def _ends(item: Parameter) -> tuple[float, float]:
    return (float(np.log(item.low)), float(np.log(item.high))) if item.is_log else (item.low, item.high)


def _default(item: Parameter, declared: Scalar) -> float | int:
    """Return a name's default; where the default config lacks it, the first choice or a range's middle."""
    if item.choices:
        return _value(item, declared, 0)
    low, high = _ends(item)
    middle = np.exp((low + high) / 2.0) if item.is_log else (low + high) / 2.0
    middle = float(np.clip(middle, item.low, item.high))
    return _value(item, declared, round(middle) if item.is_integer else middle)


def _value(item: Parameter, value: Scalar, default: float | int) -> float | int:
    if item.choices:
        place = matching_choice(value, item.choices)
        if place is not None:
            return place
        if not (item.is_ordered and is_number(value)):
            return default
        numbers = [
            (abs(float(choice) - value), at) for at, choice in enumerate(item.choices) if is_number(choice)
        ]
        return min(numbers)[1] if numbers else default
    if not is_number(value) or math.isnan(value):
        return default
    number = float(np.clip(float(value), item.low, item.high))
    return round(number) if item.is_integer else number
