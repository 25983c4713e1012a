"""Invented names: of the things asked about, and of people and places that appear in answers."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass

from workers.worlds.dice import Dice


def words(text: str) -> tuple[str, ...]:
    """Return the words of a text that has spaces between them."""
    return tuple(text.split())


ONSETS = words(
    "bal bren cor dal dren el fal fen gor gren hal hol il jor kar kel lan lor mal mar mel mor nal nor ob or "
    "pel pol quar ral ren sal sar sel sul tal tar tel tor ul val var vel vor wes yar zan zel"
)
CAPITAL_ONSETS = tuple(onset.capitalize() for onset in ONSETS)
MIDDLES = words(
    "a e i o u an en in on un ar er ir or al el il ol ad ed id od as es is os am em im om um "
    "ab eb ib ob av ev iv"
)
FIRST_NAMES = words(
    "Ada Anselm Berta Bram Cilla Corvin Dagny Doran Edda Elric Fenna Florin Greta Gideon Hanne Henrik Ilse "
    "Ivo Jorun Jasper Katla Konrad Lena Ludo Mira Matthis Nell Niko Orla Oswin Petra Piers Quilla Rasmus "
    "Runa Silas Signe Tilda Tobin Ulla Ulric Vera Viggo Wenna Willem Yara Ysolt Zoran"
)
SURNAME_ENDS = words(
    "by berg croft dale fell gard holt king lund man ner ric sen son stad ton ver wald wen yer"
)


@dataclass(frozen=True, slots=True)
class NamePattern:
    """Names made by drawing one part for every slot of a form."""

    form: str
    """Format text with one ``{}`` a slot."""
    slots: tuple[tuple[str, ...], ...]

    def draw(self, dice: Dice) -> str:
        """Return a name."""
        return self.form.format(*self.draw_parts(dice))

    def draw_parts(self, dice: Dice) -> list[str]:
        """Return one part for every slot."""
        return [dice.choice(slot) for slot in self.slots]

    def vary(self, parts: list[str], dice: Dice) -> list[str]:
        """Return the parts with one of them drawn anew."""
        changed = dice.below(len(parts))
        fresh = dice.choice(self.slots[changed])
        return [*parts[:changed], fresh, *parts[changed + 1 :]]


PERSON = NamePattern("{} {}{}{}", (FIRST_NAMES, CAPITAL_ONSETS, MIDDLES, SURNAME_ENDS))


def is_for_tasks(name: str) -> bool:
    """Return whether a name belongs to tasks; the others are pretraining's, so that no entity is in both."""
    return hashlib.sha256(name.encode()).digest()[0] % 2 == 1


def draw_names(
    pattern: NamePattern, count: int, *key: str | int, for_tasks: bool, confusable: float = 0.0
) -> list[str]:
    """Draw different names of one side.

    Args:
        pattern: What the names are made of.
        count: How many.
        *key: Key of the draws.
        for_tasks: Whether they are for tasks, or for pretraining.
        confusable: Share of the names, from 0 to 1, that differ from an earlier name in one part only.

    Returns:
        The names in the order drawn.
    """
    names: dict[str, list[str]] = {}
    for place in range(count):
        like = place > 0 and Dice("like", *key, place).chance(confusable)
        attempt = 0
        while len(names) == place:
            dice = Dice("name", *key, place, attempt)
            parts = (
                pattern.vary(dice.choice(list(names.values())), dice) if like else pattern.draw_parts(dice)
            )
            name = pattern.form.format(*parts)
            if is_for_tasks(name) == for_tasks:
                names.setdefault(name, parts)
            attempt += 1
    return list(names)


def draw_fresh_name(pattern: NamePattern, dice: Dice, *, for_tasks: bool, taken: Collection[str]) -> str:
    """Return a name of one side that is not taken."""
    while True:
        name = pattern.draw(dice)
        if is_for_tasks(name) == for_tasks and name not in taken:
            return name
