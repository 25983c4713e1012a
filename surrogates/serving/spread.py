"""Whom of several who answer alike to ask next."""

import itertools
import random
import time
from collections.abc import Callable

_ASIDE_S = 10.0
"""Somebody who was gone is not asked for so long, where there are others: Ray restarts a process in 5 s, and
what is asked meanwhile waits for that."""


class Spread:
    """Turns, from a random start, so that several callers do not all begin with the same one.

    Args:
        count: How many answer.
        start: Who begins; None: drawn.
        clock: Seconds, never going back.
    """

    def __init__(
        self, count: int, *, start: int | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._count, self._clock = count, clock
        self._turns = itertools.count(random.randrange(count) if start is None else start)
        self._aside_until_s: dict[int, float] = {}

    def turn(self) -> list[int]:
        """Return whom to ask, and whom if that one is gone; one alone is named once."""
        start = next(self._turns)
        order = [(start + place) % self._count for place in range(self._count)]
        if self._aside_until_s:
            now_s = self._clock()
            order.sort(key=lambda place: self._aside_until_s.get(place, -1.0) > now_s)
        return order[:2]

    def set_aside(self, place: int) -> None:
        """Ask others first for a while: this one is gone, and may be back soon."""
        self._aside_until_s[place] = self._clock() + _ASIDE_S
