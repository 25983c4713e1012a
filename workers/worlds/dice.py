"""Random draws keyed by text: the same on every machine, in every process, under every Python and numpy.

Of ``random.Random`` only seeding with a text and ``random()`` are used: the standard library promises that
these stay as they are. Nothing here depends on the order of a set or on ``hash()``.
"""

import random
from collections.abc import Sequence
from typing import TypeVar

_Item = TypeVar("_Item")


class Dice:
    """A stream of draws that is a function of its key alone."""

    def __init__(self, *key: str | int) -> None:
        """Start the stream of a key; different keys give independent streams."""
        self._random = random.Random("\x1f".join(str(part) for part in key))

    def below(self, count: int) -> int:
        """Return a whole number in ``[0, count)``."""
        if count < 1:
            raise ValueError(f"count must be at least 1, got {count}")
        return int(self._random.random() * count)

    def chance(self, probability: float) -> bool:
        """Return True with this probability."""
        return self._random.random() < probability

    def choice(self, items: Sequence[_Item]) -> _Item:
        """Return one of the items."""
        return items[self.below(len(items))]

    def sample(self, items: Sequence[_Item], count: int) -> list[_Item]:
        """Return ``count`` different places' items in random order."""
        if not 0 <= count <= len(items):
            raise ValueError(f"can't draw {count} of {len(items)} items without putting back")
        rest = list(items)
        for place in range(count):
            other = place + self.below(len(rest) - place)
            rest[place], rest[other] = rest[other], rest[place]
        return rest[:count]

    def shuffled(self, items: Sequence[_Item]) -> list[_Item]:
        """Return all items in random order."""
        return self.sample(items, len(items))
