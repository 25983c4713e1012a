"""Syne Tune's own types of hyperparameters, and ours."""

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.contracts import InputError, Scalar
from surrogates.data.space import Parameter, is_number
from surrogates.interchange.extras import peer
from surrogates.interchange.spaces import needs_text, to_text


def from_domains(domains: Mapping[str, Any]) -> list[Parameter]:
    """Read Syne Tune's declaration.

    Args:
        domains: Name to one of its domains, or to one fixed value.

    Returns:
        The parameters. A scale that is logarithmic towards the upper end is taken for a linear one.

    Raises:
        InputError: A domain is of a kind that we don't know.
    """
    return [_parameter(name, domain) for name, domain in domains.items()]


def to_domains(parameters: Sequence[Parameter]) -> dict[str, Any]:
    """Declare parameters in Syne Tune's types; choices of several types are declared by their JSON texts."""
    return {parameter.name: _domain(parameter) for parameter in parameters}


def _parameter(name: str, domain: Any) -> Parameter:
    kinds = peer("syne_tune.config_space")
    if isinstance(domain, kinds.FiniteRange):
        return Parameter(name=name, choices=tuple(dict.fromkeys(domain.values)), is_ordered=True)
    if isinstance(domain, kinds.Categorical):
        choices: tuple[Scalar, ...] = tuple(domain.categories)
        numbers = sorted(choice for choice in choices if is_number(choice))
        if 1 < len(numbers) == len(choices):
            return Parameter(name=name, choices=tuple(numbers), is_ordered=True)
        return Parameter(name=name, choices=choices, is_ordered=isinstance(domain, kinds.Ordinal))
    if isinstance(domain, kinds.Float | kinds.Integer):
        return Parameter(
            name=name,
            low=float(domain.lower),
            high=float(domain.upper),
            is_log=bool(kinds.is_log_space(domain)),
            is_integer=isinstance(domain, kinds.Integer),
        )
    if domain is None or isinstance(domain, bool | int | float | str):
        return Parameter(name=name, choices=(domain,))
    raise InputError(f"{name} is declared as {type(domain).__name__}, which is no kind that we know")


def _domain(parameter: Parameter) -> Any:
    kinds = peer("syne_tune.config_space")
    choices = list(parameter.choices)
    if needs_text(parameter):
        choices = [to_text(choice) for choice in choices]
    elif any(isinstance(choice, float) for choice in choices):
        choices = [float(choice) for choice in choices]  # type: ignore[arg-type]  # a domain has one type
    if len(choices) == 1:
        return choices[0]
    if choices:
        return kinds.Ordinal(choices) if parameter.is_ordered else kinds.choice(choices)
    if parameter.is_integer:
        low, high = int(parameter.low), int(parameter.high)
        return kinds.lograndint(low, high) if parameter.is_log else kinds.randint(low, high)
    return (kinds.loguniform if parameter.is_log else kinds.uniform)(parameter.low, parameter.high)
