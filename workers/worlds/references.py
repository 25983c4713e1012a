"""References that name a synthetic task in one line: ``worlds:compounds?seed=3&facts=50&noise=0.2``."""

from dataclasses import dataclass, replace

from orchestrator.contracts import InputError
from workers.worlds.knobs import KNOB_TYPES, SHIPPED_KNOBS, WorldKnobs

SCHEME = "worlds:"

_SWITCH = {"true": True, "false": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldReference:
    """A synthetic task's domain, world seed and knobs."""

    name: str
    seed: int
    knobs: WorldKnobs

    def __str__(self) -> str:
        """Return the shortest reference that is read back as this."""
        settings = knob_text(self.seed, self.knobs, SHIPPED_KNOBS[self.name], "=")
        return SCHEME + self.name + ("?" if settings else "") + "&".join(settings)


def knob_text(seed: int, knobs: WorldKnobs, shipped: WorldKnobs, between: str) -> list[str]:
    """Return what differs from the shipped task, each as name, ``between`` and value."""
    changed = {"seed": seed} if seed else {}
    changed |= {
        name: getattr(knobs, name) for name in KNOB_TYPES if getattr(knobs, name) != getattr(shipped, name)
    }
    return [f"{name}{between}{str(value).lower()}" for name, value in changed.items()]


def read_reference(reference: str) -> WorldReference:
    """Read a reference.

    Args:
        reference: ``worlds:NAME``, with ``?seed=...&KNOB=...`` behind it where it differs from what ships.

    Returns:
        Name, seed and knobs.

    Raises:
        InputError: The task or a knob is unknown, or a value is not possible; all such are listed.
    """
    if not reference.startswith(SCHEME):
        raise InputError(f"task {reference!r} must start with {SCHEME}, such as {SCHEME}towns?seed=1")
    name, mark, query = reference[len(SCHEME) :].partition("?")
    if name not in SHIPPED_KNOBS:
        raise InputError(
            f"task {reference!r}: no built-in task {name!r}; there are {', '.join(SHIPPED_KNOBS)}"
        )
    settings: dict[str, int | float | bool] = {}
    problems = []
    for item in query.split("&") if mark else ():
        knob, _, text = item.partition("=")
        kind = int if knob == "seed" else KNOB_TYPES.get(knob)
        if kind is None:
            problems.append(f"no knob {knob!r}; there are seed, {', '.join(KNOB_TYPES)}")
        elif knob in settings:
            problems.append(f"{knob} is given twice")
        elif (value := _read_value(kind, text)) is None:
            problems.append(f"{knob} must be {_KINDS[kind]}, got {text!r}")
        elif knob == "seed" and value < 0:
            problems.append(f"seed must not be negative, got {value}")
        else:
            settings[knob] = value
    if problems:
        raise InputError(*(f"task {reference!r}: {problem}" for problem in problems))
    seed = int(settings.pop("seed", 0))
    try:
        knobs = replace(SHIPPED_KNOBS[name], **settings)  # type: ignore[arg-type]  # the kinds are checked above
    except InputError as error:
        raise InputError(*(f"task {reference!r}: {problem}" for problem in error.problems)) from error
    return WorldReference(name=name, seed=seed, knobs=knobs)


_KINDS: dict[type, str] = {int: "a whole number", float: "a number", bool: "true or false"}


def _read_value(kind: type, text: str) -> int | float | bool | None:
    """Read a value of this kind, or return None."""
    if kind is bool:
        return _SWITCH.get(text)
    try:
        return int(text) if kind is int else float(text)
    except ValueError:
        return None
