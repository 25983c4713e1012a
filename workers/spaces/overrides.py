"""A person's changes to a preset: a list of values, ``{min, max, log}``, or one value to fix."""

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

from orchestrator.contracts import InputError, Scalar
from workers.spaces.combinations import Combination
from workers.spaces.names import NAMES, Name
from workers.spaces.parameters import Choices, Parameter, Range, significant
from workers.spaces.presets import Preset
from workers.spaces.settling import settle

_RANGE_KEYS = {"min", "max", "log"}


def apply_overrides(
    preset: Preset, overrides: Mapping[str, object]
) -> tuple[tuple[Parameter, ...], tuple[Combination, ...]]:
    """Change a space.

    A name that the preset leaves out joins the space. A name that can't matter any more (``warmup_steps``
    once the schedule is fixed to one without) leaves it, and so does a value that none of the others can
    stand beside. A default outside its new range moves to the closest number or, if it is a word, to the
    first. The ends of a range keep six significant digits.

    Args:
        preset: The space to start from.
        overrides: Name to what it may be: a list of values, ``{min, max, log}``, or one value.

    Returns:
        The parameters of the changed space, and what can't be together in it.

    Raises:
        InputError: A name is unknown, or what it may be is empty, of the wrong kind, beyond what the
            trainer allows, or without effect beside the rest; all such faults together.
    """
    declared = {parameter.name: parameter for parameter in preset.parameters}
    problems = []
    for name, override in overrides.items():
        if name not in declared:
            problems.append(f"space: {name!r} is no hyperparameter; there are {', '.join(declared)}")
            continue
        try:
            domain = _read_domain(NAMES[name], override)
        except ValueError as error:
            problems.append(f"space: {name} {error}")
        else:
            declared[name] = replace(declared[name], domain=domain)
    if not problems:
        kept = [
            item for item in declared.values() if item.name in overrides or item.name not in preset.left_out
        ]
        try:
            return settle(kept, wanted=frozenset(overrides))
        except InputError as error:
            problems += [f"space: {problem}" for problem in error.problems]
    raise InputError(*problems)


def _read_domain(name: Name, override: object) -> Choices | Range:
    """Read what a name may be, or raise ValueError with the reason."""
    if isinstance(override, Mapping):
        return _read_range(name, override)
    listed = override if isinstance(override, list | tuple) else [override]
    if not listed:
        raise ValueError(f"has no values; each must be {name.allowed}")
    values: list[Scalar] = []
    for item in listed:
        value = name.read(item)
        if value in values:
            raise ValueError(f"names {item!r} twice; name it once")
        values.append(value)
    order = name.words.index if name.words else None
    return Choices(tuple(sorted(values, key=order)))  # type: ignore[type-var,arg-type]


def _read_range(name: Name, override: Mapping[object, object]) -> Range:
    """Read ``{min, max, log}``, or raise ValueError with the reason."""
    if name.kind not in (float, int):
        raise ValueError(
            f"can't be a range, got {dict(override)!r}; give a list of values, each {name.allowed}"
        )
    unknown = sorted(repr(key) for key in set(override) - _RANGE_KEYS)
    missing = sorted({"min", "max"} - set(override))
    if unknown or missing:
        fault = f"has unknown {', '.join(unknown)}" if unknown else f"lacks {' and '.join(missing)}"
        raise ValueError(f"{fault}; write {{min: ..., max: ..., log: true}}")
    low, high = (_end(name, override[key]) for key in ("min", "max"))
    is_log = override.get("log", False)
    if low >= high:
        raise ValueError(f"must have min below max, got min {low} and max {high}")
    if not isinstance(is_log, bool):
        raise ValueError(f"must have log true or false, got {is_log!r}")
    if is_log and low <= 0:
        raise ValueError(f"must have min above 0 on a logarithmic scale, got {low}")
    return Range(low, high, is_log=is_log, is_integer=name.kind is int)


def _end(name: Name, value: object) -> float:
    """Return an end of a range with the digits of drawn values, in ConfigSpace's 13 decimals."""
    read = cast(float, name.read(value))  # this name's kind is int or float
    return read if isinstance(read, int) else round(significant(read), 13)
