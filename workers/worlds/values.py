"""Kinds of values that facts have: closed lists, numbers, codes, dates, open names, long phrases."""

import string
from collections.abc import Callable, Sequence

from workers.worlds.dice import Dice
from workers.worlds.names import CAPITAL_ONSETS, MIDDLES, PERSON, NamePattern, words

Value = Callable[[Dice], str]
"""Draws a value, written as it stands within a sentence."""

MONTHS = words("January February March April May June July August September October November December")


def one_of(values: str) -> Value:
    """A closed list, given with ``|`` between its values."""
    listed = tuple(value.strip() for value in values.split("|"))
    return lambda dice: dice.choice(listed)


def number(low: int, high: int, *, step: int = 1, unit: str = "") -> Value:
    """A multiple of ``step`` from ``low`` to ``high``, with its unit behind it."""
    count = (high - low) // step + 1
    return lambda dice: f"{low + step * dice.below(count)} {unit}".rstrip()


def code(pattern: str) -> Value:
    """A code: ``#`` stands for a digit and ``?`` for a capital letter."""

    def draw(dice: Dice) -> str:
        signs = {"#": string.digits, "?": string.ascii_uppercase}
        return "".join(dice.choice(signs[sign]) if sign in signs else sign for sign in pattern)

    return draw


def day() -> Value:
    """A day of the year, such as ``14 March``."""
    return lambda dice: f"{1 + dice.below(28)} {dice.choice(MONTHS)}"


def date(first_year: int, last_year: int) -> Value:
    """A day and a year, such as ``14 March 1871``."""
    return lambda dice: (
        f"{1 + dice.below(28)} {dice.choice(MONTHS)} {first_year + dice.below(last_year - first_year + 1)}"
    )


def person() -> Value:
    """An open list of people."""
    return PERSON.draw


def place(form: str, ends: str) -> Value:
    """An open list of names: the form has one ``{}``, the ends are given with spaces between them."""
    pattern = NamePattern(form.replace("{}", "{}{}{}"), (CAPITAL_ONSETS, MIDDLES, words(ends)))
    return pattern.draw


def phrase(form: str, *parts: str) -> Value:
    """A phrase: one choice for every ``{}`` of the form, each list given with ``|`` between its items."""
    lists: Sequence[tuple[str, ...]] = [tuple(item.strip() for item in part.split("|")) for part in parts]
    return lambda dice: form.format(*(dice.choice(items) for items in lists))
