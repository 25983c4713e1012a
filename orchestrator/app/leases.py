"""How many leases a worker may hold: one, unless its trials are lighter than a round trip."""

import time
from collections.abc import Callable

from orchestrator.contracts import WorkerId

WORK_AHEAD_S = 0.5
"""Seconds of work that a worker may hold: a trial behind it waits no longer than that for another worker."""
MOST_LEASES = 128
_WEIGHT_OF_NEW = 0.5


class LeaseSizing:
    """Learns from each worker how long its trials take.

    A worker of ordinary trials holds one lease: none waits behind another while a worker idles, and the next
    is one round trip away. Where a trial takes milliseconds the round trip would be all that is measured.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._trial_s: dict[WorkerId, float] = {}
        self._since_s: dict[WorkerId, float] = {}
        self._capacities: dict[WorkerId, int] = {}

    def join(self, worker_id: WorkerId) -> int:
        """Return the leases that a new worker may hold."""
        self._since_s[worker_id] = self._clock()
        self._capacities[worker_id] = 1
        return 1

    def leave(self, worker_id: WorkerId) -> None:
        """Forget a worker."""
        for table in (self._trial_s, self._since_s, self._capacities):
            table.pop(worker_id, None)

    def ended(self, worker_id: WorkerId, trials: int) -> int | None:
        """Take note that trials of a worker have ended since it was last heard of.

        Args:
            worker_id: The worker.
            trials: How many, at least 1.

        Returns:
            The leases it may hold from now on, if that is a change.
        """
        now_s = self._clock()
        measured_s = (now_s - self._since_s.get(worker_id, now_s)) / trials
        self._since_s[worker_id] = now_s
        before_s = self._trial_s.get(worker_id, measured_s)
        trial_s = before_s + _WEIGHT_OF_NEW * (measured_s - before_s)
        self._trial_s[worker_id] = trial_s
        capacity = max(1, min(MOST_LEASES, int(WORK_AHEAD_S / max(trial_s, 1e-6))))
        if capacity == self._capacities.get(worker_id):
            return None
        self._capacities[worker_id] = capacity
        return capacity
