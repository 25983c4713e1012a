"""What a domain is made of: a pattern of names, and relations with their wordings and values."""

from dataclasses import dataclass

from workers.worlds.names import NamePattern
from workers.worlds.values import Value

FRAMES = (
    "What is the {noun} of {entity}?",
    "Tell me the {noun} of {entity}.",
    "Which {noun} does {entity} have?",
    "{entity}: {noun}?",
    "Name the {noun} of {entity}.",
    "I would like to know the {noun} of {entity}.",
    "For {entity}, what is the {noun}?",
    "What {noun} is on record for {entity}?",
    "State the {noun} that belongs to {entity}.",
    "Do you know the {noun} of {entity}?",
    "Please give the {noun} listed under {entity}.",
    "Regarding {entity}, what do we know as the {noun}?",
    "A handbook has an entry on {entity}. Which {noun} does it give?",
    "Someone asks you for the {noun} of {entity}. What do you say?",
)
"""Questions that fit every relation."""

STATEMENT = "The {noun} of {entity} is {value}."


@dataclass(frozen=True, slots=True)
class Relation:
    """One kind of fact: every entity of the domain has one value of it."""

    name: str
    value: Value
    nouns: tuple[str, str, str]
    """Three noun phrases for the value, each after "the"."""
    questions: tuple[str, ...]
    """Questions that fit this relation alone, with ``{entity}``."""

    @property
    def wordings(self) -> tuple[str, ...]:
        """All ways to ask, in a fixed order, each with ``{entity}`` left open."""
        framed = [frame.replace("{noun}", noun) for noun in self.nouns for frame in FRAMES]
        return (*self.questions, *framed)

    @property
    def statements(self) -> tuple[str, ...]:
        """All ways to say it, each with ``{entity}`` and ``{value}`` left open."""
        return tuple(STATEMENT.replace("{noun}", noun) for noun in self.nouns)


@dataclass(frozen=True, slots=True)
class Domain:
    """A part of the worlds: entities of one kind and the relations that hold for them."""

    name: str
    entities: NamePattern
    relations: tuple[Relation, ...]
