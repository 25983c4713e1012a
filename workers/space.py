"""The search space: which configs there are to finetune with, drawn, checked, shown and exchanged.

A config names every active parameter and no other, in plain values of one type each, so that two configs that
differ train differently. Presets lie in ``workers.spaces.presets``.
"""

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from orchestrator.contracts import Config, ConfigId, InputError, Scalar, config_id, digest
from workers.spaces.names import NAMES
from workers.spaces.overrides import apply_overrides
from workers.spaces.parameters import Choices, Parameter
from workers.spaces.presets import parameters_of

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace

_FORMAT = 1
_DRAWS_PER_CONFIG = 1000
"""Draws for each config known, none of them new, after which a narrow range is held to have no more."""


@dataclass(frozen=True, slots=True)
class SpaceRow:
    """One name, as a table shows it."""

    name: str
    range: str
    default: str
    condition: str
    """When the name matters; empty: always."""
    meaning: str


class SearchSpace:
    """A declared space of configs.

    Args:
        name: Of the preset it was made from.
        parameters: Its names, parents before children.
    """

    def __init__(self, name: str, parameters: Sequence[Parameter]) -> None:
        self.name = name
        self.parameters = tuple(parameters)

    @classmethod
    def preset(cls, name: str) -> "SearchSpace":
        """Return a declared space by name; one that is not there is refused with those that are."""
        return cls(name, parameters_of(name))

    @classmethod
    def from_spec(cls, preset: str, overrides: Mapping[str, Any]) -> "SearchSpace":
        """Return a preset with a sweep's changes.

        Args:
            preset: The space to start from.
            overrides: Name to a list of values, ``{min, max, log}``, or one value to fix.

        Returns:
            The changed space. What can't be is refused, all of it together.
        """
        return cls(preset, apply_overrides(parameters_of(preset), overrides))

    @cached_property
    def version(self) -> str:
        """The name and a digest of all that is declared: values, ranges, defaults and conditions."""
        return f"{self.name}-{digest([parameter.declared() for parameter in self.parameters])[:12]}"

    @cached_property
    def size(self) -> float:
        """How many configs there are; infinite where a range of real numbers is among the parameters."""
        names = {parameter.condition.parent for parameter in self.parameters if parameter.condition}
        parents = [parameter for parameter in self.parameters if parameter.name in names]
        listed = [parent.domain.values for parent in parents if isinstance(parent.domain, Choices)]
        count = 0.0
        for values in itertools.product(*listed):
            config = dict(zip((parent.name for parent in parents), values, strict=True))
            rest = (item for item in self.parameters if item not in parents and item.is_active(config))
            count += math.prod(item.domain.size for item in rest)
        return count

    def default(self) -> Config:
        """Return the config to try first."""
        return self._active({parameter.name: parameter.default for parameter in self.parameters})

    def sample(self, n: int, *, seed: int) -> list[Config]:
        """Draw configs.

        The first of many are the same as few: a larger ``n`` adds to the list. What is drawn for one name
        depends neither on the others nor on the process.

        Args:
            n: How many, all different.
            seed: The same seed gives the same configs.

        Returns:
            The configs.

        Raises:
            InputError: The space holds fewer.
        """
        if n > self.size:
            raise InputError(f"the search space holds {self.size:.0f} different configs, {n} are asked for")
        found: dict[ConfigId, Config] = {}
        number = last_new = 0
        while len(found) < n:
            drawn = self._active({item.name: item.draw(seed, number) for item in self.parameters})
            number += 1
            if found.setdefault(config_id(drawn), drawn) is drawn:
                last_new = number
            if number - last_new > _DRAWS_PER_CONFIG * (1 + len(found)):
                raise InputError(f"the search space holds {len(found)} different configs, {n} are asked for")
        return list(found.values())

    def check(self, config: Config) -> Config:
        """Check a config that a person wrote.

        Args:
            config: Names to values; a name left out takes the space's default.

        Returns:
            The config as the space writes it: complete, each value of its name's type.

        Raises:
            InputError: A name is unknown or has no effect beside the others, or a value is not in its range;
                all such faults together, with the value and what is allowed.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        problems = [
            f"{name} is no name of this space; it has {', '.join(known)}"
            for name in config
            if name not in known
        ]
        values = {parameter.name: parameter.default for parameter in self.parameters}
        for name, parameter in known.items():
            if name in config:
                try:
                    values[name] = _checked(parameter, config[name])
                except ValueError as error:
                    problems.append(f"{name} {error}")
        for name, parameter in known.items():
            if name in config and not problems and not parameter.is_active(values):
                problems.append(f"{name} has no effect unless {parameter.condition}; leave it out")
        if problems:
            raise InputError(*problems)
        return self._active(values)

    def describe(self) -> list[SpaceRow]:
        """Return one row a name, for a table."""
        return [
            SpaceRow(
                name=parameter.name,
                range=_shown_range(parameter),
                default=str(Choices((parameter.default,))),
                condition=str(parameter.condition or ""),
                meaning=NAMES[parameter.name].meaning,
            )
            for parameter in self.parameters
        ]

    def to_configspace(self) -> "ConfigurationSpace":
        """Return the space as ConfigSpace's object, for other optimizers."""
        from workers.spaces.exchange import to_configspace

        return to_configspace(self.name, self.parameters)

    def to_json(self) -> str:
        """Return the space as JSON that ``from_json`` reads; ``configspace`` in it is ConfigSpace's own."""
        content = {
            "format": _FORMAT,
            "name": self.name,
            "version": self.version,
            "configspace": self.to_configspace().to_serialized_dict(),
        }
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "SearchSpace":
        """Read a space.

        Args:
            text: As ``to_json`` wrote it.

        Returns:
            The space.

        Raises:
            InputError: The text is no such space, or was changed after it was written.
        """
        from ConfigSpace import ConfigurationSpace

        from workers.spaces.exchange import from_configspace

        try:
            content = json.loads(text)
            name, version = content["name"], content["version"]
            declared = ConfigurationSpace.from_serialized_dict(content["configspace"])
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise InputError(f"not a search space as `foretune space --json` prints it: {error!r}") from error
        space = cls(name, from_configspace(declared))
        if space.version != version:
            raise InputError(
                f"the search space says it is {version}, but what it declares is {space.version}; it was "
                "changed by hand, or written by another release"
            )
        return space

    def _active(self, values: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """Return the values of the names that matter beside one another."""
        config: dict[str, Scalar] = {}
        for parameter in self.parameters:
            if parameter.is_active(config):
                config[parameter.name] = values[parameter.name]
        return config


def _checked(parameter: Parameter, value: Scalar) -> Scalar:
    """Return the value as its name's type, or raise ValueError with the value and what is allowed."""
    name = NAMES[parameter.name]
    if isinstance(parameter.domain, Choices):
        allowed = f"one of {parameter.domain}" if parameter.fixed is None else str(parameter.domain)
    else:
        allowed = f"in {parameter.domain}"
    try:
        read = name.read(value)
    except ValueError as error:
        raise ValueError(name.refusal(value, allowed)) from error
    if not parameter.domain.holds(read):
        raise ValueError(name.refusal(value, allowed))
    return read


def _shown_range(parameter: Parameter) -> str:
    if isinstance(parameter.domain, Choices):
        return str(parameter.domain)
    kind = " whole numbers" if parameter.domain.is_integer else ""
    return f"{parameter.domain}{kind}{' log' if parameter.domain.is_log else ''}"
