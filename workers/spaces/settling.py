"""What is left of declared parameters once their values are chosen.

A name that can't matter goes, and so does a condition that always holds and a value that can't stand beside
any of the others' values; the defaults become a config that may be.
"""

import itertools
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace

from orchestrator.contracts import InputError, Scalar
from workers.spaces.combinations import FORBIDDEN, Combination, listed
from workers.spaces.parameters import Choices, Parameter, Range


def settle(
    parameters: Sequence[Parameter], *, wanted: Set[str]
) -> tuple[tuple[Parameter, ...], tuple[Combination, ...]]:
    """Drop what can't be in any config.

    Args:
        parameters: Parents before children.
        wanted: Names that a person chose the values of: nothing of them is dropped, it is refused instead.

    Returns:
        What is left of the parameters, and the combinations that some of their values still make.

    Raises:
        InputError: A wanted name or value can't be in any config, or no config is left.
    """
    left = _reachable(parameters, wanted)
    combinations = _possible(left)
    while (found := _useless_values(left, combinations)) is not None:
        name, useless, combination = found
        values = tuple(value for value in left[name].domain.values if value not in useless)  # type: ignore[union-attr]
        if name in wanted or not values:
            raise InputError(_refusal(name, useless, combination))
        left[name] = replace(left[name], domain=Choices(values))
        left = _reachable(list(left.values()), wanted)
        combinations = _possible(left)
    defaults = _allowed_defaults(left, combinations)
    return tuple(replace(item, default=defaults[item.name]) for item in left.values()), combinations


def _reachable(parameters: Sequence[Parameter], wanted: Set[str]) -> dict[str, Parameter]:
    """Return the parameters that can matter, without conditions that always hold."""
    left: dict[str, Parameter] = {}
    problems = []
    for parameter in parameters:
        condition = parameter.condition
        if condition is None:
            left[parameter.name] = parameter
            continue
        parent = left.get(condition.parent)
        values = tuple(v for v in condition.values if parent is not None and parent.domain.holds(v))
        if parent is None or not values:
            if parameter.name in wanted:
                problems.append(f"{parameter.name} has no effect unless {condition}; leave it out")
            continue
        always = isinstance(parent.domain, Choices) and len(values) == len(parent.domain.values)
        inherited = parent.condition if always else replace(condition, values=values)
        left[parameter.name] = replace(parameter, condition=inherited)
    if problems:
        raise InputError(*problems)
    return left


def _possible(left: Mapping[str, Parameter]) -> tuple[Combination, ...]:
    """Return the combinations that the parameters can still make, with the values they have left."""
    found = []
    for combination in FORBIDDEN:
        if not combination.values.keys() <= left.keys():
            continue
        values = {
            name: tuple(value for value in values if left[name].domain.holds(value))
            for name, values in combination.values.items()
        }
        for name in combination.values:
            condition = left[name].condition
            if condition is not None and condition.parent in values:
                values[condition.parent] = tuple(
                    value for value in values[condition.parent] if value in condition.values
                )
        if all(values.values()):
            found.append(replace(combination, values=values))
    return tuple(found)


def _useless_values(
    left: Mapping[str, Parameter], combinations: Sequence[Combination]
) -> tuple[str, tuple[Scalar, ...], Combination] | None:
    """Return a name's values that can't stand beside any of the others', and why; None: there are none."""
    for combination in combinations:
        for name, values in combination.values.items():
            others = [left[other] for other in combination.values if other != name]
            if isinstance(left[name].domain, Choices) and all(
                _is_covered(other, combination) and _matters_beside(other, left[name]) for other in others
            ):
                return name, values, combination
    return None


def _refusal(name: str, useless: tuple[Scalar, ...], combination: Combination) -> str:
    others = (f"{other} is {listed(values)}" for other, values in combination.values.items() if other != name)
    return f"{name} = {listed(useless)} can't be while {' and '.join(others)}: {combination.reason}"


def _is_covered(parameter: Parameter, combination: Combination) -> bool:
    """Whether a combination holds all of a parameter's values."""
    return isinstance(parameter.domain, Choices) and set(parameter.domain.values) <= set(
        combination.values[parameter.name]
    )


def _matters_beside(parameter: Parameter, other: Parameter) -> bool:
    """Whether a parameter matters in every config in which another one does."""
    if parameter.condition is None:
        return True
    return (
        other.condition is not None
        and parameter.condition.parent == other.condition.parent
        and set(other.condition.values) <= set(parameter.condition.values)
    )


def _allowed_defaults(
    left: Mapping[str, Parameter], combinations: Sequence[Combination]
) -> dict[str, Scalar]:
    """Return defaults that may stand beside one another, each the closest to what was declared."""
    defaults = {name: item.domain.nearest(item.default) for name, item in left.items()}
    involved = list(dict.fromkeys(name for combination in combinations for name in combination.values))
    choices = [_candidates(left[name], defaults[name]) for name in involved]
    for values in itertools.product(*choices):
        tried = defaults | dict(zip(involved, values, strict=True))
        if not any(combination.holds(tried) for combination in combinations):
            return tried
    raise InputError("no config is left: " + "; ".join(f"{c} can't be: {c.reason}" for c in combinations))


def _candidates(parameter: Parameter, default: Scalar) -> list[Scalar]:
    """Return the values that a default may move to, itself first."""
    if isinstance(parameter.domain, Range):
        return [default, *(v for v in (default - 1, default + 1) if parameter.domain.holds(v))]  # type: ignore[operator]
    return [default, *(value for value in parameter.domain.values if value != default)]
