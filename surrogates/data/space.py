"""The declared space of hyperparameters, read from ConfigSpace or from a plain mapping."""

import copy
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
from ConfigSpace import (
    Categorical,
    Configuration,
    ConfigurationSpace,
    Constant,
    Float,
    InCondition,
    Integer,
    OrdinalHyperparameter,
)
from ConfigSpace.hyperparameters import CategoricalHyperparameter, Hyperparameter

from orchestrator.contracts import InputError, Scalar

SpaceDeclaration = ConfigurationSpace | Mapping[str, Any]
"""A ConfigSpace, or name to a list of values, ``{min, max, log, integer, when}`` or one fixed value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One hyperparameter as surrogates see it: a range of numbers, or a list of choices."""

    name: str
    low: float = math.nan
    high: float = math.nan
    is_log: bool = False
    is_integer: bool = False
    choices: tuple[Scalar, ...] = ()
    """Values in order; empty for a range."""
    is_ordered: bool = False
    """Whether the order of the choices means something."""


class Space:
    """A declared space: its parameters, draws from it, and values as it declares them.

    Args:
        declaration: ConfigSpace's own object, or a mapping of names. In a mapping a list declares choices
            (numbers are ordered), ``{"min": a, "max": b}`` a range, with ``"log": True`` or ``"integer":
            True``, and any other value is fixed; ``"when": {parent: [values]}`` beside ``"min"`` or
            ``"values"`` makes a name conditional.

    Raises:
        InputError: The mapping is not such a declaration.
    """

    def __init__(self, declaration: SpaceDeclaration) -> None:
        if isinstance(declaration, ConfigurationSpace):
            self._space = copy.deepcopy(declaration)
        else:
            self._space = _declared(declaration)
        self.parameters = tuple(_parameter(item) for item in self._space.values())
        self._by_name = {parameter.name: parameter for parameter in self.parameters}

    @classmethod
    def from_json(cls, text: str) -> "Space":
        """Read ConfigSpace's own JSON, bare or as one value of an enclosing object.

        Args:
            text: The JSON.

        Returns:
            The space.

        Raises:
            InputError: The text holds no such object.
        """
        try:
            content = json.loads(text)
        except json.JSONDecodeError as err:
            raise InputError(f"the declared space is not JSON: {err}") from err
        held = [content, *(content.values() if isinstance(content, dict) else ())]
        found = [item for item in held if isinstance(item, dict) and "hyperparameters" in item]
        if not found:
            raise InputError(
                "the declared space holds no `hyperparameters`; write it with ConfigSpace's to_json"
            )
        return cls(ConfigurationSpace.from_serialized_dict(found[0]))

    def to_json(self) -> str:
        """Return ConfigSpace's own JSON, as ``from_json`` reads it."""
        return json.dumps(self._space.to_serialized_dict())

    @property
    def names(self) -> tuple[str, ...]:
        """All names, fixed and conditional ones included."""
        return tuple(self._by_name)

    def default(self) -> dict[str, Scalar]:
        """Return the default config, inactive names left out."""
        return self.restore(dict(self._space.get_default_configuration()))

    def allows(self, name: str, value: Scalar) -> bool:
        """Return whether a declared name can have a value."""
        return bool(self._space[name].legal_value(value))

    def accepts(self, config: Mapping[str, Scalar]) -> bool:
        """Return whether a config has all that it needs and nothing that can't be together."""
        try:
            Configuration(self._space, values=dict(config))
        except (ValueError, KeyError):  # what ConfigSpace raises for illegal, inactive, missing and forbidden
            return False
        return True

    def declared(self, name: str) -> str:
        """Return in words what a name was declared with."""
        parameter = self._by_name[name]
        if parameter.choices:
            return f"one of {', '.join(map(str, parameter.choices))}"
        return f"{parameter.low:g} to {parameter.high:g}"

    def sample(self, count: int, *, seed: int) -> list[dict[str, Scalar]]:
        """Draw configs.

        Args:
            count: How many, from 1.
            seed: The same seed gives the same configs.

        Returns:
            The configs, inactive names left out.
        """
        space = copy.deepcopy(self._space)
        space.seed(seed)
        # ConfigSpace is about to change what it returns for one config asked for by number.
        drawn = [space.sample_configuration()] if count == 1 else space.sample_configuration(count)
        return [self.restore(dict(config)) for config in drawn]

    def restore(self, config: Mapping[str, Any]) -> dict[str, Scalar]:
        """Give every value the type the space declares, as pandas and numpy may have changed it.

        Args:
            config: Names to values; a missing value (None where no choice, NaN) is an inactive name.

        Returns:
            Plain Python values, inactive names left out.

        Raises:
            InputError: A name is not declared.
        """
        unknown = sorted(set(config) - set(self._by_name))
        if unknown:
            raise InputError(
                f"{', '.join(unknown)} is not in the declared space; declared are {', '.join(self.names)}"
            )
        restored = {}
        for name, value in config.items():
            parameter = self._by_name[name]
            if not _is_missing(value, parameter):
                restored[name] = _plain(value, parameter)
        return restored


def matching_choice(value: Any, choices: Sequence[Scalar]) -> int | None:
    """Return the position of a value among choices; True is not 1, but 8 is 8.0. None if it is none."""
    for position, choice in enumerate(choices):
        if isinstance(value, bool | np.bool_) is isinstance(choice, bool) and bool(value == choice):
            return position
    return None


def is_number(value: object) -> TypeGuard[int | float]:
    """Return whether a value is a number and not a boolean."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _is_missing(value: Any, parameter: Parameter) -> bool:
    if value is None:
        return None not in parameter.choices
    return isinstance(value, float | np.floating) and math.isnan(value)


def _plain(value: Any, parameter: Parameter) -> Scalar:
    if parameter.choices:
        position = matching_choice(value, parameter.choices)
        if position is not None:
            return parameter.choices[position]
    elif parameter.is_integer and is_number(value) and float(value).is_integer():
        return int(value)
    plain: Scalar = value.item() if isinstance(value, np.generic) else value
    return plain


def _parameter(declared: Hyperparameter[Any, Any]) -> Parameter:
    if isinstance(declared, Constant):
        return Parameter(name=declared.name, choices=(_python(declared.value),))
    if isinstance(declared, OrdinalHyperparameter):
        return Parameter(name=declared.name, choices=tuple(map(_python, declared.sequence)), is_ordered=True)
    if isinstance(declared, CategoricalHyperparameter):
        choices = tuple(map(_python, declared.choices))
        numbers = sorted(choice for choice in choices if is_number(choice))
        ordered = 1 < len(numbers) == len(choices)
        return Parameter(
            name=declared.name, choices=tuple(numbers) if ordered else choices, is_ordered=ordered
        )
    numeric: Any = declared  # integers and floats, uniform or not: ConfigSpace has no common type with bounds
    return Parameter(
        name=declared.name,
        low=float(numeric.lower),
        high=float(numeric.upper),
        is_log=bool(getattr(numeric, "log", False)),
        is_integer=isinstance(numeric.lower, int | np.integer),
    )


def _python(value: Any) -> Scalar:
    plain: Scalar = value.item() if isinstance(value, np.generic) else value
    return plain


def _declared(declaration: Mapping[str, Any]) -> ConfigurationSpace:
    space = ConfigurationSpace()
    problems = []
    for name, value in declaration.items():
        try:
            space.add(_hyperparameter(name, value))
        except (ValueError, TypeError, KeyError) as err:
            problems.append(f"{name}: {value!r} declares no hyperparameter: {err}")
    conditional = {n: v["when"] for n, v in declaration.items() if isinstance(v, Mapping) and "when" in v}
    for name, parents in conditional.items():
        if len(parents) != 1 or not set(parents) <= set(declaration):
            problems.append(f"{name}: `when` must name one declared parent with its values, got {parents!r}")
    if problems:
        raise InputError(*problems)
    for name, parents in conditional.items():
        ((parent, values),) = parents.items()
        space.add(InCondition(space[name], space[parent], list(values)))
    return space


def _hyperparameter(name: str, value: Any) -> Hyperparameter[Any, Any]:
    if isinstance(value, Mapping) and "values" in value:
        value = value["values"]
    if isinstance(value, Mapping):
        unknown = set(value) - {"min", "max", "log", "integer", "default", "when"}
        if unknown:
            raise ValueError(f"unknown {', '.join(sorted(unknown))}")
        kind = Integer if value.get("integer", False) else Float
        return kind(
            name, (value["min"], value["max"]), log=value.get("log", False), default=value.get("default")
        )
    if not isinstance(value, list | tuple):
        return Constant(name, value)
    if len(value) > 1 and all(is_number(choice) for choice in value):
        return OrdinalHyperparameter(name, sorted(value))
    return Categorical(name, list(value))
