"""Spaces that another tool declares in its own types, or that must be guessed from values."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ConfigSpace import (
    CategoricalHyperparameter,
    ConfigurationSpace,
    Constant,
    Float,
    InCondition,
    Integer,
    OrdinalHyperparameter,
)
from ConfigSpace.hyperparameters import Hyperparameter

from orchestrator.contracts import Config, InputError, Scalar
from surrogates.data.space import Parameter, Space, is_number, matching_choice

_MOST_CHOICES = 10
"""Numbers with at most so many values are taken for choices."""
_LOG_RATIO = 100.0
"""Positive numbers that span at least so much are taken for logarithmic."""

Conditions = Mapping[str, tuple[str, Sequence[Scalar]]]
"""Name to the parent on which it depends, and the parent's values with which it is active."""


def declare(parameters: Iterable[Parameter], conditions: Conditions | None = None) -> Space:
    """Declare a space.

    Args:
        parameters: Its parameters.
        conditions: Which of them are not always active.

    Returns:
        The space.

    Raises:
        InputError: A parameter can't be declared.
    """
    space, problems = ConfigurationSpace(), []
    for parameter in parameters:
        try:
            space.add(_hyperparameter(parameter))
        except (ValueError, TypeError) as err:
            problems.append(f"{parameter.name} can't be declared: {err}")
    if problems:
        raise InputError(*problems)
    for name, (parent, values) in (conditions or {}).items():
        space.add(InCondition(space[name], space[parent], list(values)))
    return Space(space)


def guess(name: str, values: Iterable[Scalar]) -> Parameter:
    """Guess a parameter from the values that it has taken.

    Args:
        name: Its name.
        values: At least one.

    Returns:
        A range for more than ten numbers, choices otherwise.
    """
    distinct = _distinct(values)
    numbers = sorted(value for value in distinct if is_number(value))
    if len(numbers) < len(distinct) or len(numbers) <= _MOST_CHOICES:
        ordered = 1 < len(numbers) == len(distinct)
        return Parameter(name=name, choices=tuple(numbers if ordered else distinct), is_ordered=ordered)
    low, high = numbers[0], numbers[-1]
    return Parameter(
        name=name,
        low=float(low),
        high=float(high),
        is_log=low > 0 and high / low >= _LOG_RATIO,
        is_integer=all(isinstance(value, int) for value in numbers),
    )


def guess_conditions(configs: Sequence[Config], parameters: Sequence[Parameter]) -> Conditions:
    """Guess when a name that is missing in some configs is active.

    Args:
        configs: The configs.
        parameters: All parameters.

    Returns:
        For each name that some configs lack, the first choice that every config has and that tells the two
        kinds apart, if there is one.
    """
    always = [
        item
        for item in parameters
        if len(item.choices) > 1 and all(item.name in config for config in configs)
    ]
    found: dict[str, tuple[str, Sequence[Scalar]]] = {}
    for item in parameters:
        having = [config for config in configs if item.name in config]
        lacking = [config for config in configs if item.name not in config]
        if not having or not lacking:
            continue
        for parent in always:
            active = _distinct(config[parent.name] for config in having)
            if all(matching_choice(config[parent.name], active) is None for config in lacking):
                found[item.name] = (parent.name, active)
                break
    return found


def needs_text(parameter: Parameter) -> bool:
    """Return whether a parameter's values are of more than one type, and written as JSON texts therefore."""
    kinds = {"number" if is_number(choice) else type(choice).__name__ for choice in parameter.choices}
    return len(kinds) > 1 or kinds == {"NoneType"}


def to_text(value: Scalar) -> str:
    """Return a value as the JSON text that stands for it; ``json.loads`` is the inverse."""
    return json.dumps(value)


def _distinct(values: Iterable[Scalar]) -> list[Scalar]:
    """Return the values that differ, in order; True is not 1, but 8 is 8.0."""
    distinct: list[Scalar] = []
    seen = set()
    for value in values:
        key = (isinstance(value, bool), value)
        if key not in seen:
            seen.add(key)
            distinct.append(value)
    return distinct


def _hyperparameter(parameter: Parameter) -> Hyperparameter[Any, Any]:
    name, choices = parameter.name, list(parameter.choices)
    if not choices and parameter.low == parameter.high:
        choices = [int(parameter.low) if parameter.is_integer else parameter.low]
    if len(choices) == 1:
        return Constant(name, choices[0])
    if choices:
        kind = OrdinalHyperparameter if parameter.is_ordered else CategoricalHyperparameter
        return kind(name, choices)
    if parameter.is_integer:
        return Integer(name, (int(parameter.low), int(parameter.high)), log=parameter.is_log)
    return Float(name, (parameter.low, parameter.high), log=parameter.is_log)
