"""The scheduler of a sweep.

Its life is one driver's: it is built from the plan and from what the ledger already holds, and dies with the
driver; nothing in it needs to survive, since a new one built from the ledger continues where it stopped.

A trial is ``pending`` until it is granted to a worker, ``leased`` until the worker starts it, ``running``
until it ends. A worker that leaves gives its leases back: those that ran count a death where the worker's
own process died and come back after a pause, the others come back at once. Attempts are numbered; an event
of any but the trial's current attempt changes nothing.
"""

import enum
import heapq
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.contracts import Outcome, TaskId, Trial, TrialId, WorkerId
from orchestrator.scheduling.events import (
    Conclude,
    DrainRequested,
    Event,
    ExtendRun,
    Grant,
    Instruction,
    PointLanded,
    RunEnded,
    RunStarted,
    StopRun,
    TimePassed,
    WorkerJoined,
    WorkerLeft,
)
from orchestrator.scheduling.rules import Fifo, StoppingRule

MAX_DEATHS = 3
"""Workers that may die under a trial before it is set aside as failed."""
FIRST_BACKOFF_S = 1.0
LONGEST_BACKOFF_S = 60.0


class TrialState(enum.StrEnum):
    """Where a trial stands with this scheduler."""

    PENDING = "pending"
    LEASED = "leased"
    RUNNING = "running"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class Past:
    """What the ledger holds of a trial when the scheduler is built."""

    epochs: int = 0
    last_attempt: int = -1
    """The newest attempt ever granted; -1 for none."""
    outcome: Outcome | None = None


@dataclass(slots=True)
class _Entry:
    """A trial's state; ``attempt`` is the newest granted."""

    trial: Trial
    order: int
    epochs: int
    attempt: int
    state: TrialState = TrialState.PENDING
    worker: WorkerId | None = None
    deaths: int = 0
    outcome: Outcome | None = None


@dataclass(slots=True)
class _Worker:
    capacity: int
    leases: set[TrialId] = field(default_factory=set)


class Scheduler:
    """Turns events into instructions; see the module's docstring.

    Args:
        plan: All trials of the sweep, in the order in which they are preferred.
        past: What is already on record, by trial; trials without an entry are new.
        rule: When to stop a trial early; default never.
    """

    def __init__(
        self,
        plan: Sequence[Trial],
        *,
        past: Mapping[TrialId, Past] | None = None,
        rule: StoppingRule | None = None,
    ) -> None:
        self._rule = rule or Fifo()
        self._entries: dict[TrialId, _Entry] = {}
        self._workers: dict[WorkerId, _Worker] = {}
        self._pending: dict[TaskId, deque[TrialId]] = {}
        self._retries: deque[TrialId] = deque()
        self._resting: list[tuple[float, int, TrialId]] = []
        self._granted_of_task: Counter[TaskId] = Counter()
        self._draining = False
        self._unfinished = 0
        for order, trial in enumerate(plan):
            if trial.trial_id in self._entries:
                raise ValueError(f"trial {trial.trial_id} stands twice in the plan; plan each trial once")
            self._admit(order, trial, (past or {}).get(trial.trial_id, Past()))

    def _admit(self, order: int, trial: Trial, past: Past) -> None:
        entry = _Entry(trial=trial, order=order, epochs=past.epochs, attempt=past.last_attempt)
        self._entries[trial.trial_id] = entry
        if past.outcome is not None and past.outcome.is_final:
            entry.state, entry.outcome = TrialState.FINISHED, past.outcome
            self._granted_of_task[trial.task_id] += 1
            return
        self._unfinished += 1
        if past.epochs > 0:
            # Also a trial whose curve is whole but that has no outcome: a worker finds nothing left to train
            # in its checkpoint, exports what is to be kept and ends it.
            self._retries.append(trial.trial_id)
        else:
            self._pending.setdefault(trial.task_id, deque()).append(trial.trial_id)

    @property
    def is_done(self) -> bool:
        """Whether every planned trial has an outcome."""
        return self._unfinished == 0

    def counts(self) -> Counter[str]:
        """Return how many trials are in each state."""
        return Counter(entry.state.value for entry in self._entries.values())

    def current_attempt(self, trial_id: TrialId) -> int:
        """Return the newest granted attempt of a trial; -1 for none."""
        return self._entries[trial_id].attempt

    def leases_of(self, worker_id: WorkerId) -> list[TrialId]:
        """Return the trials a worker holds, in plan order; none for a worker that is not there."""
        worker = self._workers.get(worker_id)
        return sorted(worker.leases, key=lambda t: self._entries[t].order) if worker else []

    def handle(self, event: Event, *, now_s: float) -> list[Instruction]:
        """Take in one event.

        Args:
            event: What happened.
            now_s: The driver's monotonic clock, in seconds.

        Returns:
            What to do, in order; each must be carried out before the next event is handed in.
        """
        instructions: list[Instruction] = []
        match event:
            case WorkerJoined():
                self._workers[event.worker_id] = _Worker(event.capacity)
            case WorkerLeft():
                instructions += self._leave(event, now_s)
            case RunStarted():
                entry = self._current(event.trial_id, event.attempt)
                if entry is not None:
                    entry.state = TrialState.RUNNING
            case PointLanded():
                instructions += self._land(event)
            case RunEnded():
                self._end(event, now_s)
            case DrainRequested():
                self._draining = True
            case TimePassed():
                pass
        return instructions + self._grant_all(now_s)

    def next_due_s(self) -> float | None:
        """Return the time at which the first resting trial may run again; None if none rests."""
        return self._resting[0][0] if self._resting else None

    def _current(self, trial_id: TrialId, attempt: int) -> _Entry | None:
        """Return the trial's entry if the attempt is the one that holds its lease."""
        entry = self._entries.get(trial_id)
        if entry is None or entry.attempt != attempt or entry.worker is None:
            return None
        return entry

    def _land(self, event: PointLanded) -> Iterable[Instruction]:
        entry = self._current(event.trial_id, event.attempt)
        if entry is None:
            return
        entry.epochs = max(entry.epochs, event.epoch)
        worker = entry.worker
        if worker is None or event.epoch >= entry.trial.max_epochs:
            return
        if event.epoch < self._rule.milestone(entry.trial, event.epoch - 1):
            return
        judgement = self._rule.judge(entry.trial, event.epoch, event.metrics)
        if judgement is None:
            yield StopRun(event.trial_id, event.attempt, worker)
        else:
            yield ExtendRun(event.trial_id, event.attempt, worker, judgement.until_epoch)

    def _end(self, event: RunEnded, now_s: float) -> None:
        entry = self._current(event.trial_id, event.attempt)
        if entry is None:
            return
        self._give_back(entry)
        if event.outcome.is_final:
            self._finish(entry, event.outcome)
        else:
            self._rest(entry, now_s)

    def _leave(self, event: WorkerLeft, now_s: float) -> Iterable[Instruction]:
        worker = self._workers.pop(event.worker_id, None)
        if worker is None:
            return
        for entry in sorted((self._entries[trial_id] for trial_id in worker.leases), key=lambda e: e.order):
            was_running = entry.state is TrialState.RUNNING
            entry.worker, entry.state = None, TrialState.PENDING
            if not (was_running and event.blames_trial):
                self._retries.append(entry.trial.trial_id)
                continue
            entry.deaths += 1
            if entry.deaths >= MAX_DEATHS:
                reason = f"{entry.deaths} workers died while they ran this trial; the last: {event.reason}"
                self._finish(entry, Outcome.FAILED)
                yield Conclude(entry.trial.trial_id, entry.attempt, Outcome.FAILED, reason)
            else:
                self._rest(entry, now_s)

    def _give_back(self, entry: _Entry) -> None:
        if entry.worker is not None:
            self._workers[entry.worker].leases.discard(entry.trial.trial_id)
        entry.worker, entry.state = None, TrialState.PENDING

    def _finish(self, entry: _Entry, outcome: Outcome) -> None:
        entry.state, entry.outcome = TrialState.FINISHED, outcome
        self._unfinished -= 1

    def _rest(self, entry: _Entry, now_s: float) -> None:
        pause_s = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2 ** max(0, entry.deaths - 1))
        heapq.heappush(self._resting, (now_s + pause_s, entry.order, entry.trial.trial_id))

    def _grant_all(self, now_s: float) -> list[Instruction]:
        while self._resting and self._resting[0][0] <= now_s:
            self._retries.append(heapq.heappop(self._resting)[2])
        grants: list[Instruction] = []
        while not self._draining and (free := self._freest_worker()) is not None:
            trial_id = self._next_trial()
            if trial_id is None:
                break
            grants.append(self._grant(trial_id, free))
        return grants

    def _freest_worker(self) -> WorkerId | None:
        """Return the worker with the fewest leases that may take one more."""
        best: WorkerId | None = None
        for worker_id, worker in self._workers.items():
            if len(worker.leases) < worker.capacity and (
                best is None or len(worker.leases) < len(self._workers[best].leases)
            ):
                best = worker_id
        return best

    def _next_trial(self) -> TrialId | None:
        """Take the next trial: begun ones first, then of the task that was granted least, in plan order."""
        if self._retries:
            return self._retries.popleft()
        waiting = [
            (self._granted_of_task[task], queue[0], task) for task, queue in self._pending.items() if queue
        ]
        if not waiting:
            return None
        _, _, task = min(waiting, key=lambda item: (item[0], self._entries[item[1]].order))
        return self._pending[task].popleft()

    def _grant(self, trial_id: TrialId, worker_id: WorkerId) -> Grant:
        entry = self._entries[trial_id]
        if entry.epochs == 0 and entry.attempt < 0:
            self._granted_of_task[entry.trial.task_id] += 1
        entry.attempt += 1
        entry.worker, entry.state = worker_id, TrialState.LEASED
        self._workers[worker_id].leases.add(trial_id)
        until = min(entry.trial.max_epochs, self._rule.milestone(entry.trial, entry.epochs))
        return Grant(trial_id, entry.attempt, worker_id, until)

    def validate(self) -> None:
        """Check every invariant.

        Raises:
            AssertionError: One is broken: a bug of ours.
        """
        held = {trial_id: name for name, worker in self._workers.items() for trial_id in worker.leases}
        queued = Counter(trial_id for queue in self._pending.values() for trial_id in queue)
        queued.update(self._retries)
        queued.update(trial_id for _, _, trial_id in self._resting)
        for worker in self._workers.values():
            assert len(worker.leases) <= worker.capacity
        for trial_id, entry in self._entries.items():
            on_worker = entry.state in (TrialState.LEASED, TrialState.RUNNING)
            assert on_worker == (trial_id in held) == (entry.worker is not None)
            assert entry.worker == held.get(trial_id)
            assert queued[trial_id] == (entry.state is TrialState.PENDING)
            assert (entry.state is TrialState.FINISHED) == (entry.outcome is not None)
        unfinished = sum(entry.state is not TrialState.FINISHED for entry in self._entries.values())
        assert self._unfinished == unfinished
