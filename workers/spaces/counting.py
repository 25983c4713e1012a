"""How many configs a space holds."""

import math
from collections.abc import Mapping, Sequence, Set

from orchestrator.contracts import Scalar
from workers.spaces.combinations import Combination
from workers.spaces.parameters import Choices, Parameter


def count_configs(parameters: Sequence[Parameter], combinations: Sequence[Combination]) -> float:
    """Count the configs of a space.

    Args:
        parameters: Its names, parents before children.
        combinations: What can't be together in a config.

    Returns:
        How many there are; infinite where a range of real numbers is among the parameters.
    """
    if any(math.isinf(parameter.domain.size) for parameter in parameters):
        return math.inf
    parents = {parameter.condition.parent for parameter in parameters if parameter.condition}
    deciding = parents.union(*(combination.values for combination in combinations))
    return math.prod(
        _count([item for item in parameters if item.name in group], deciding, combinations, {})
        for group in _independent(parameters, combinations)
    )


def _count(
    parameters: Sequence[Parameter],
    deciding: Set[str],
    combinations: Sequence[Combination],
    config: Mapping[str, Scalar],
) -> float:
    """Count what these parameters can be beside the deciding values before them."""
    if not parameters:
        return float(not any(combination.holds(config) for combination in combinations))
    first, rest = parameters[0], parameters[1:]
    if not first.is_active(config):
        return _count(rest, deciding, combinations, config)
    if first.name not in deciding:
        return first.domain.size * _count(rest, deciding, combinations, config)
    domain = first.domain
    values = domain.values if isinstance(domain, Choices) else range(int(domain.low), int(domain.high) + 1)
    return sum(_count(rest, deciding, combinations, {**config, first.name: value}) for value in values)


def _independent(parameters: Sequence[Parameter], combinations: Sequence[Combination]) -> list[set[str]]:
    """Return groups of names that neither conditions nor combinations link to one another."""
    groups: list[set[str]] = []
    links = [{item.name, *([item.condition.parent] if item.condition else [])} for item in parameters]
    for link in [*links, *(set(combination.values) for combination in combinations)]:
        touched = [group for group in groups if group & link]
        groups = [group for group in groups if not group & link] + [link.union(*touched)]
    return groups
