"""A clock that stands still while other programs have the cores."""

import time
from collections.abc import Callable


class OwnClock:
    """Seconds of this process: between two readings the fewer of the wall's and the CPU's.

    Args:
        wall: Seconds that pass.
        cpu: Seconds that the process computes, on all its threads.
    """

    def __init__(
        self, wall: Callable[[], float] = time.perf_counter, cpu: Callable[[], float] = time.process_time
    ) -> None:
        self._wall, self._cpu = wall, cpu
        self._before = (wall(), cpu())
        self._total_s = 0.0

    def __call__(self) -> float:
        """Read the clock."""
        now = (self._wall(), self._cpu())
        self._total_s += min(now[0] - self._before[0], now[1] - self._before[1])
        self._before = now
        return self._total_s
