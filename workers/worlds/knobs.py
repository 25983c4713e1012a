"""What makes one synthetic task differ from another, and the settings of the eight that ship."""

import math
from dataclasses import dataclass, fields

from orchestrator.contracts import InputError

WORDINGS_PER_FACT = 12
TRAIN_WORDINGS = 10
MOST_FACTS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldKnobs:
    """How a task is drawn from its domain.

    Raises:
        InputError: A value is out of its range; all such are listed.
    """

    facts: int = 40
    """Facts the task asks about, 1 to 400; each has 10 training examples, 1 for validation, 1 for test."""
    relations: int = 4
    """Relations in use, 1 to 6; a domain with fewer uses all it has."""
    wordings: int = 40
    """Ways to ask after one relation that the task draws from, 12 to 44."""
    typos: float = 0.0
    """Share of the questions, in all splits, with a slip of the keyboard."""
    noise: float = 0.0
    """Share of the training examples with a wrong answer, up to 0.9; validation and test are always right."""
    held_out: bool = False
    """Whether validation and test ask in ways that training never asks."""
    confusable: float = 0.0
    """Share of the entities whose name differs from another's in one part only."""
    answer_parts: int = 1
    """Values that every answer lists, 1 to 4: the more, the longer it is."""

    def __post_init__(self) -> None:
        problems = [
            problem
            for name, low, high in (
                ("facts", 1, MOST_FACTS),
                ("relations", 1, 6),
                ("wordings", WORDINGS_PER_FACT, 44),
                ("typos", 0.0, 1.0),
                ("noise", 0.0, 0.9),
                ("confusable", 0.0, 1.0),
                ("answer_parts", 1, 4),
            )
            if (problem := _out_of_range(name, getattr(self, name), low, high))
        ]
        held_out: object = self.held_out
        if not isinstance(held_out, bool):
            problems.append(f"knob held_out must be true or false, got {held_out!r}")
        if problems:
            raise InputError(*problems)


def _out_of_range(name: str, value: object, low: float, high: float) -> str | None:
    """Say what is wrong with a number, if anything; a whole-number bound asks for whole numbers."""
    kinds = (int,) if isinstance(low, int) else (int, float)
    kind = "a whole number" if isinstance(low, int) else "a number"
    fits = (
        isinstance(value, kinds)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and low <= value <= high
    )
    return None if fits else f"knob {name} must be {kind} from {low} to {high}, got {value!r}"


KNOB_TYPES: dict[str, type] = {field.name: type(field.default) for field in fields(WorldKnobs)}
"""Every knob's name with the type of its values."""

SHIPPED_KNOBS = {
    "compounds": WorldKnobs(facts=150, relations=6),
    "laws": WorldKnobs(facts=48, relations=5),
    "machines": WorldKnobs(facts=40, relations=5, noise=0.5),
    "organisms": WorldKnobs(facts=12, relations=3, noise=0.5),
    "people": WorldKnobs(facts=100, relations=5, typos=0.7, held_out=True),
    "recipes": WorldKnobs(facts=110, relations=5, wordings=30, held_out=True, confusable=0.5),
    "software": WorldKnobs(facts=60, relations=5, noise=0.25),
    "towns": WorldKnobs(facts=15, relations=2, wordings=12),
}
"""The eight tasks of the embedded default; of laws and software the base model has seen nothing."""
