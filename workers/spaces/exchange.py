"""Spaces to ConfigSpace and back: what surrogates and other tools read."""

from collections.abc import Hashable, Sequence
from typing import Any

from ConfigSpace import (
    CategoricalHyperparameter,
    ConfigurationSpace,
    Constant,
    EqualsCondition,
    InCondition,
    OrdinalHyperparameter,
    UniformFloatHyperparameter,
    UniformIntegerHyperparameter,
)
from ConfigSpace.hyperparameters import Hyperparameter

from orchestrator.contracts import InputError
from workers.spaces.names import NAMES
from workers.spaces.parameters import Choices, Condition, Parameter, Range


def to_configspace(name: str, parameters: Sequence[Parameter]) -> ConfigurationSpace:
    """Return the space as ConfigSpace's object; each hyperparameter's ``meta`` holds its meaning."""
    space = ConfigurationSpace(name=name)
    space.add([_hyperparameter(parameter) for parameter in parameters])
    for parameter in parameters:
        if parameter.condition is not None:
            child, parent = space[parameter.name], space[parameter.condition.parent]
            space.add(InCondition(child, parent, list(parameter.condition.values)))
    return space


def from_configspace(space: ConfigurationSpace) -> tuple[Parameter, ...]:
    """Return the parameters of a space, in the order of the names table.

    Args:
        space: As ``to_configspace`` makes it.

    Returns:
        The parameters.

    Raises:
        InputError: It holds a name or a kind of hyperparameter that is not known here.
    """
    unknown = sorted(set(space) - set(NAMES))
    if unknown or space.forbidden_clauses:
        found = ", ".join(unknown) or "forbidden clauses"
        raise InputError(f"the space holds {found}, unknown here; known names are {', '.join(NAMES)}")
    conditions: dict[str, Condition] = {}
    for condition in space.conditions:
        if isinstance(condition, InCondition):
            conditions[condition.child.name] = Condition(condition.parent.name, tuple(condition.values))
        elif isinstance(condition, EqualsCondition):
            conditions[condition.child.name] = Condition(condition.parent.name, (condition.value,))
        else:
            raise InputError(f"the space holds the condition {condition}, of a kind unknown here")
    return tuple(_parameter(space[name], conditions.get(name)) for name in NAMES if name in space)


def _hyperparameter(parameter: Parameter) -> Hyperparameter[Any, Any]:
    name, domain, default = parameter.name, parameter.domain, parameter.default
    meta: dict[Hashable, Any] = {"meaning": NAMES[name].meaning}
    if isinstance(domain, Range):
        kind: Any = UniformIntegerHyperparameter if domain.is_integer else UniformFloatHyperparameter
        made: Hyperparameter[Any, Any] = kind(
            name, domain.low, domain.high, default_value=default, log=domain.is_log, meta=meta
        )
        return made
    values: list[Any] = list(domain.values)
    if len(values) == 1:
        return Constant(name, values[0], meta=meta)
    if NAMES[name].kind in (int, float):
        return OrdinalHyperparameter(name, values, default_value=default, meta=meta)
    return CategoricalHyperparameter(name, values, default_value=default, meta=meta)


def _parameter(made: Hyperparameter[Any, Any], condition: Condition | None) -> Parameter:
    domain: Choices | Range
    match made:
        case Constant():
            domain = Choices((made.value,))
        case OrdinalHyperparameter():
            domain = Choices(tuple(made.sequence))
        case CategoricalHyperparameter():
            domain = Choices(tuple(made.choices))
        case UniformIntegerHyperparameter():
            domain = Range(int(made.lower), int(made.upper), is_log=made.log, is_integer=True)
        case UniformFloatHyperparameter():
            domain = Range(float(made.lower), float(made.upper), is_log=made.log)
        case _:
            raise InputError(f"the space holds {made.name} as {type(made).__name__}, a kind unknown here")
    return Parameter(name=made.name, domain=domain, default=made.default_value, condition=condition)
