"""The search space: which configs there are to finetune with, drawn, checked, shown and exchanged.

A config names every active parameter and no other, in plain values of one type each, so that two configs that
differ train differently. Presets lie in ``workers.spaces.presets``.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from orchestrator.contracts import Config, ConfigId, InputError, Scalar, config_id, digest
from workers.spaces.combinations import Combination, refusals
from workers.spaces.counting import count_configs
from workers.spaces.names import NAMES
from workers.spaces.overrides import apply_overrides
from workers.spaces.parameters import Choices, Parameter, active_values, shown
from workers.spaces.presets import preset_named

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace

_FORMAT = 1
_DRAWS_PER_CONFIG = 1000
"""Draws for each config known, none of them new, after which a narrow range is held to have no more."""
_REDRAWS = 1000
"""Times that values which can't be together are drawn again before a draw is given up."""


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
        combinations: What can't be together in a config.
    """

    def __init__(
        self, name: str, parameters: Sequence[Parameter], combinations: Sequence[Combination] = ()
    ) -> None:
        self.name = name
        self.parameters = tuple(parameters)
        self.combinations = tuple(combinations)

    @classmethod
    def preset(cls, name: str) -> "SearchSpace":
        """Return a declared space by name; one that is not there is refused with those that are."""
        return cls.from_spec(name, {})

    @classmethod
    def from_spec(cls, preset: str, overrides: Mapping[str, Any]) -> "SearchSpace":
        """Return a preset with a sweep's changes.

        Args:
            preset: The space to start from.
            overrides: Name to a list of values, ``{min, max, log}``, or one value to fix.

        Returns:
            The changed space. What can't be is refused, all of it together.
        """
        return cls(preset, *apply_overrides(preset_named(preset), overrides))

    @cached_property
    def version(self) -> str:
        """The name and a digest of what is declared: values, defaults, conditions, what can't be together."""
        declared: list[object] = [parameter.declared() for parameter in self.parameters]
        if self.combinations:
            declared.append(sorted((combination.declared() for combination in self.combinations), key=str))
        return f"{self.name}-{digest(declared)[:12]}"

    @cached_property
    def size(self) -> float:
        """How many configs there are; infinite where a range of real numbers is among the parameters."""
        return count_configs(self.parameters, self.combinations)

    @property
    def is_finite(self) -> bool:
        """Whether its configs can be counted."""
        return math.isfinite(self.size)

    @property
    def left_out(self) -> tuple[str, ...]:
        """The names of its preset that are not searched, but could be beside the values that are."""
        domains = {parameter.name: parameter.domain for parameter in self.parameters}
        return tuple(
            parameter.name
            for parameter in preset_named(self.name).parameters
            if parameter.name not in domains
            and (
                parameter.condition is None
                or any(domains[parameter.condition.parent].holds(v) for v in parameter.condition.values)
            )
        )

    def default(self) -> Config:
        """Return the config to try first."""
        return self._active({parameter.name: parameter.default for parameter in self.parameters})

    def sample(self, n: int, *, seed: int) -> list[Config]:
        """Draw configs.

        The first of many are the same as few: a larger ``n`` adds to the list. What is drawn for one name
        depends neither on the others nor on the process; only values that can't be together are drawn again.

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
            drawn = self._drawn(seed, number)
            number += 1
            if drawn is not None and found.setdefault(config_id(drawn), drawn) is drawn:
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
            InputError: A name is unknown or has no effect beside the others, a value is not in its range, or
                values can't be together; all such faults together, with the value and what is allowed.
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
        checked = self._active(values)
        problems = problems or refusals(checked, self.combinations)
        if problems:
            raise InputError(*problems)
        return checked

    def describe(self) -> list[SpaceRow]:
        """Return one row a name, for a table."""
        return [
            SpaceRow(
                name=parameter.name,
                range=_shown_range(parameter),
                default=shown(parameter.default),
                condition=self._shown_condition(parameter),
                meaning=NAMES[parameter.name].meaning,
            )
            for parameter in self.parameters
        ]

    def to_configspace(self) -> "ConfigurationSpace":
        """Return the space as ConfigSpace's object, for other optimizers."""
        from workers.spaces.exchange import to_configspace

        return to_configspace(self.name, self.parameters, self.combinations)

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
        space = cls(name, *from_configspace(declared))
        if space.version != version:
            raise InputError(
                f"the search space says it is {version}, but what it declares is {space.version}; it was "
                "changed by hand, or written by another release"
            )
        return space

    def _shown_condition(self, parameter: Parameter) -> str:
        """Return a condition in words, the shorter way round."""
        if parameter.condition is None:
            return ""
        parent = next(item for item in self.parameters if item.name == parameter.condition.parent)
        values = parent.domain.values if isinstance(parent.domain, Choices) else ()
        others = tuple(value for value in values if value not in parameter.condition.values)
        if 0 < len(others) < len(parameter.condition.values):
            return f"{parent.name} is not {' or '.join(map(shown, others))}"
        return str(parameter.condition)

    def _drawn(self, seed: int, number: int) -> dict[str, Scalar] | None:
        """Return a draw; None where values that can't be together were drawn over and over again."""
        declared = {parameter.name: parameter for parameter in self.parameters}
        values = {name: parameter.draw(seed, number) for name, parameter in declared.items()}
        for again in range(1, _REDRAWS):
            config = self._active(values)
            clashing = next((item for item in self.combinations if item.holds(config)), None)
            if clashing is None:
                return config
            for name in clashing.values:
                values[name] = declared[name].draw(seed, number, again)
        return None

    def _active(self, values: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """Return the values of the names that matter beside one another."""
        return active_values(self.parameters, values)


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
