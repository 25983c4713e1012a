"""The trials that wait for a worker: in which order they are taken.

Begun trials come first, in the order in which they came back; then new ones, of the task that was granted
least, in plan order. A trial that rests is not taken before its time.
"""

import heapq
from collections import Counter, deque
from dataclasses import dataclass, field

from orchestrator.contracts import TaskId, Trial, TrialId


@dataclass(slots=True)
class _TaskLine:
    """The new trials of one task."""

    trials: deque[tuple[int, TrialId]] = field(default_factory=deque)
    granted: int = 0


class WaitingLine:
    """The order among trials that wait; it starts empty."""

    def __init__(self) -> None:
        self._begun: deque[TrialId] = deque()
        self._resting: list[tuple[float, int, TrialId]] = []
        self._tasks: dict[TaskId, _TaskLine] = {}
        self._pushes = 0

    def count_granted(self, task_id: TaskId) -> None:
        """Count a trial of a task that was begun earlier, for fairness between tasks."""
        self._tasks.setdefault(task_id, _TaskLine()).granted += 1

    def push_new(self, trial: Trial, order: int) -> None:
        """Add a trial that was never granted; those of one task must come in plan order."""
        self._tasks.setdefault(trial.task_id, _TaskLine()).trials.append((order, trial.trial_id))

    def push_begun(self, trial_id: TrialId) -> None:
        """Add a trial that was granted before."""
        self._begun.append(trial_id)

    def rest(self, trial_id: TrialId, until_s: float) -> None:
        """Add a trial that was granted before, and is not to be taken before a time."""
        self._pushes += 1
        heapq.heappush(self._resting, (until_s, self._pushes, trial_id))

    def pop(self, now_s: float) -> TrialId | None:
        """Take the next trial; None if none waits that may be taken."""
        while self._resting and self._resting[0][0] <= now_s:
            self._begun.append(heapq.heappop(self._resting)[2])
        if self._begun:
            return self._begun.popleft()
        lines = [line for line in self._tasks.values() if line.trials]
        if not lines:
            return None
        line = min(lines, key=lambda line: (line.granted, line.trials[0]))
        line.granted += 1
        return line.trials.popleft()[1]

    def trials(self) -> Counter[TrialId]:
        """Return how often each trial stands here: once, or there is a fault."""
        found = Counter(self._begun)
        found.update(trial_id for _, _, trial_id in self._resting)
        for line in self._tasks.values():
            found.update(trial_id for _, trial_id in line.trials)
        return found
