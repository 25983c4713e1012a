"""What the values of a hyperparameter do to the score, on average over tasks and configs."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.contracts import Config, Scalar
from surrogates.data.normalisation import Array
from surrogates.data.space import Parameter, Space, is_number, matching_choice

INACTIVE = "inactive"
_RANGES = 6
"""Of a range of numbers, so many parts with equally many configs are told apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One hyperparameter's values, and what each is worth."""

    name: str
    values: tuple[str, ...]
    """Choices, or ``from–to`` of a part of a range, in their order; ``inactive`` last."""
    effects: tuple[float, ...]
    """What each moves the score by on average, in the score's unit; above 0 is better than usual."""
    counts: tuple[int, ...]
    """Configs that have it."""


def effects(space: Space, configs: Sequence[Config], moved: Mapping[str, Array]) -> tuple[Effect, ...]:
    """Average what hyperparameters moved predictions by, value by value.

    Args:
        space: Declares them.
        configs: The configs that were predicted.
        moved: Name to what it moved each of them by, shape ``(configs,)``.

    Returns:
        One effect a name, in the order of ``moved``.
    """
    by_name = {parameter.name: parameter for parameter in space.parameters}
    return tuple(_effect(by_name[name], configs, phi) for name, phi in moved.items())


def _effect(parameter: Parameter, configs: Sequence[Config], phi: Array) -> Effect:
    values: list[Scalar] = [config.get(parameter.name) for config in configs]
    active = np.array([parameter.name in config for config in configs])
    labels, place = (_choices if parameter.choices else _ranges)(parameter, values)
    labels = [*labels, INACTIVE]
    place = np.where(active, place, len(labels) - 1)
    counts = [int((place == at).sum()) for at in range(len(labels))]
    kept = [at for at, count in enumerate(counts) if count]
    return Effect(
        name=parameter.name,
        values=tuple(labels[at] for at in kept),
        effects=tuple(float(phi[place == at].mean()) for at in kept),
        counts=tuple(counts[at] for at in kept),
    )


def _choices(parameter: Parameter, values: Sequence[Scalar]) -> tuple[list[str], NDArray[np.int64]]:
    labels = [_text(choice) for choice in parameter.choices] + ["another"]
    found = [matching_choice(value, parameter.choices) for value in values]
    return labels, np.array([len(labels) - 1 if at is None else at for at in found], dtype=np.int64)


def _ranges(parameter: Parameter, values: Sequence[Scalar]) -> tuple[list[str], NDArray[np.int64]]:
    numbers = np.array([float(value) if is_number(value) else np.nan for value in values])
    known = numbers[~np.isnan(numbers)]
    if not known.size:
        return [], np.zeros(len(values), dtype=np.int64)
    edges = np.unique(np.quantile(known, np.linspace(0.0, 1.0, _RANGES + 1)))
    inner = edges[1:-1]
    labels = [f"{_text(float(a))}–{_text(float(b))}" for a, b in itertools.pairwise(edges)] or [
        _text(float(edges[0]))
    ]
    return labels, np.searchsorted(inner, numbers, side="right").astype(np.int64)


def _text(value: Scalar) -> str:
    return f"{value:.2g}" if isinstance(value, float) else str(value)
