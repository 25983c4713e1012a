"""Spaces to ConfigSpace and back: what surrogates and other tools read."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from ConfigSpace import (
    CategoricalHyperparameter,
    ConfigurationSpace,
    Constant,
    EqualsCondition,
    ForbiddenAndConjunction,
    ForbiddenEqualsClause,
    ForbiddenInClause,
    InCondition,
    OrdinalHyperparameter,
    UniformFloatHyperparameter,
    UniformIntegerHyperparameter,
)
from ConfigSpace.hyperparameters import Hyperparameter

from orchestrator.contracts import InputError, Scalar
from workers.spaces.combinations import FORBIDDEN, Combination
from workers.spaces.names import NAMES
from workers.spaces.parameters import Choices, Condition, Parameter, Range


def to_configspace(
    name: str, parameters: Sequence[Parameter], combinations: Sequence[Combination]
) -> ConfigurationSpace:
    """Return the space as ConfigSpace's object; each hyperparameter's ``meta`` holds its meaning."""
    space = ConfigurationSpace(name=name)
    space.add([_hyperparameter(parameter) for parameter in parameters])
    for parameter in parameters:
        if parameter.condition is not None:
            child, parent = space[parameter.name], space[parameter.condition.parent]
            space.add(InCondition(child, parent, list(parameter.condition.values)))
    for combination in combinations:
        clauses = (ForbiddenInClause(space[item], values) for item, values in combination.values.items())
        space.add(ForbiddenAndConjunction(*clauses))
    return space


def from_configspace(
    space: ConfigurationSpace,
) -> tuple[tuple[Parameter, ...], tuple[Combination, ...]]:
    """Return what a space declares.

    Args:
        space: As ``to_configspace`` makes it.

    Returns:
        The parameters, in the order of the names table, and what can't be together.

    Raises:
        InputError: It holds a name, a kind of hyperparameter, condition or forbidden clause that is not known
            here.
    """
    unknown = sorted(set(space) - set(NAMES))
    if unknown:
        raise InputError(
            f"the space holds {', '.join(unknown)}, unknown here; known names are {', '.join(NAMES)}"
        )
    conditions: dict[str, Condition] = {}
    for condition in space.conditions:
        if isinstance(condition, InCondition):
            conditions[condition.child.name] = Condition(condition.parent.name, tuple(condition.values))
        elif isinstance(condition, EqualsCondition):
            conditions[condition.child.name] = Condition(condition.parent.name, (condition.value,))
        else:
            raise InputError(f"the space holds the condition {condition}, of a kind unknown here")
    parameters = tuple(_parameter(space[name], conditions.get(name)) for name in NAMES if name in space)
    return parameters, _combinations([_clause_values(clause) for clause in space.forbidden_clauses])


def _clause_values(forbidden: object) -> dict[str, tuple[Scalar, ...]]:
    """Return the values that a forbidden clause names."""
    values: dict[str, tuple[Scalar, ...]] = {}
    for clause in forbidden.components if isinstance(forbidden, ForbiddenAndConjunction) else [forbidden]:
        if isinstance(clause, ForbiddenInClause):
            values[clause.hyperparameter.name] = tuple(clause.values)
        elif isinstance(clause, ForbiddenEqualsClause):
            values[clause.hyperparameter.name] = (clause.value,)
        else:
            raise InputError(f"the space holds the forbidden clause {clause}, of a kind unknown here")
    return values


def _combinations(declared: Sequence[Mapping[str, tuple[Scalar, ...]]]) -> tuple[Combination, ...]:
    """Return combinations in the order of the table, with its reasons; those that it lacks come last."""
    found = [
        Combination(values, known.reason)
        for known in FORBIDDEN
        for values in declared
        if known.includes(values)
    ]
    unknown = [
        Combination(values, "the space declares it so")
        for values in declared
        if not any(known.includes(values) for known in FORBIDDEN)
    ]
    return (*found, *unknown)


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
