"""The scheduler of a sweep.

Its life is one driver's: it is built from the plan and from what the ledger already holds, and dies with the
driver; nothing in it needs to survive, since a new one built from the ledger continues where it stopped.

A trial is ``pending`` until it is granted to a worker, ``leased`` until the worker starts it, ``running``
until it ends or is paused; it is ``standing_by`` while its rule has not decided. A worker that leaves gives
its leases back: those that had not begun at once, those that ran after a pause that grows with every loss in
a row. Attempts are numbered; an event of any but the trial's current attempt changes nothing.
"""

import enum
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.contracts import Outcome, Trial, TrialId, WorkerId
from orchestrator.scheduling.events import (
    CapacityChanged,
    Conclude,
    DrainRequested,
    Event,
    ExtendRun,
    Grant,
    Instruction,
    PauseRun,
    PointLanded,
    RunEnded,
    RunPaused,
    RunStarted,
    StopRun,
    TimePassed,
    WorkerJoined,
    WorkerLeft,
)
from orchestrator.scheduling.rules import EndHere, Fifo, Judgement, RunOn, StandBy, StoppingRule
from orchestrator.scheduling.waiting import WaitingLine

MAX_DEATHS = 3
"""Workers that may die under a trial, one after another without a new point, before it is set aside."""
FIRST_BACKOFF_S = 1.0
LONGEST_BACKOFF_S = 60.0


class TrialState(enum.StrEnum):
    """Where a trial stands with this scheduler."""

    PENDING = "pending"
    LEASED = "leased"
    RUNNING = "running"
    STANDING_BY = "standing_by"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class Past:
    """What the ledger holds of a trial when the scheduler is built."""

    epochs: int = 0
    last_attempt: int = -1
    """The newest attempt ever granted; -1 for none."""
    outcome: Outcome | None = None
    """None also for a finished trial that is to be continued."""


@dataclass(slots=True)
class _Entry:
    """A trial's state; ``attempt`` is the newest granted."""

    trial: Trial
    order: int
    epochs: int
    attempt: int
    state: TrialState = TrialState.PENDING
    worker: WorkerId | None = None
    judgement: Judgement | None = None
    """The rule's last word on it."""
    deaths: int = 0
    """Workers that died under it since its last new point."""
    losses: int = 0
    """Times it was lost since its last new point, for whatever reason."""


@dataclass(slots=True)
class _Worker:
    capacity: int
    leases: set[TrialId] = field(default_factory=set)


class Scheduler:
    """Turns events into instructions; see the module's docstring.

    Args:
        plan: All trials of the sweep, in the order in which they are preferred.
        past: What is already on record, by trial; trials without an entry are new.
        history: The points on record, in the order in which they landed.
        rule: When to stop a trial early; default never.
    """

    def __init__(
        self,
        plan: Sequence[Trial],
        *,
        past: Mapping[TrialId, Past] | None = None,
        history: Iterable[PointLanded] = (),
        rule: StoppingRule | None = None,
    ) -> None:
        self._rule = rule or Fifo()
        self._entries: dict[TrialId, _Entry] = {}
        self._workers: dict[WorkerId, _Worker] = {}
        self._waiting = WaitingLine()
        self._is_draining = False
        self._states: Counter[TrialState] = Counter()
        past = past or {}
        for order, trial in enumerate(plan):
            if trial.trial_id in self._entries:
                raise ValueError(f"trial {trial.trial_id} stands twice in the plan; plan each trial once")
            found = past.get(trial.trial_id, Past())
            self._entries[trial.trial_id] = _Entry(trial, order, found.epochs, found.last_attempt)
            self._states[TrialState.PENDING] += 1
            self._rule.add(trial)
        self._recall(past, history)
        for entry in self._entries.values():
            self._admit(entry)
        self._heed_rule()

    def _recall(self, past: Mapping[TrialId, Past], history: Iterable[PointLanded]) -> None:
        """Bring the rule to where it stood, and finish what is finished."""
        outcomes = {trial_id: item.outcome for trial_id, item in past.items() if item.outcome}
        for point in history:
            entry = self._entries.get(point.trial_id)
            if entry is None or point.epoch < self._rule.milestone(entry.trial, point.epoch - 1):
                continue
            entry.judgement = self._rule.judge(entry.trial, point.epoch, point.metrics)
            if point.epoch == entry.epochs and point.trial_id in outcomes:
                self._finish(entry, outcomes.pop(point.trial_id))
        for trial_id, outcome in outcomes.items():
            if trial_id in self._entries:
                self._finish(self._entries[trial_id], outcome)

    def _admit(self, entry: _Entry) -> None:
        if entry.state is TrialState.FINISHED:
            self._waiting.count_granted(entry.trial.task_id)
        elif entry.epochs == 0:
            self._waiting.push_new(entry.trial, entry.order)
        else:
            # Also a trial whose curve is whole but that has no outcome: a worker finds nothing left to train
            # in its checkpoint, exports what is to be kept and ends it.
            self._waiting.count_granted(entry.trial.task_id)
            self._wait(entry)

    @property
    def is_done(self) -> bool:
        """Whether every planned trial has an outcome."""
        return self._states[TrialState.FINISHED] == len(self._entries)

    @property
    def is_idle(self) -> bool:
        """Whether no worker holds a lease."""
        return self._states[TrialState.LEASED] + self._states[TrialState.RUNNING] == 0

    def counts(self) -> Counter[str]:
        """Return how many trials are in each state."""
        return Counter({state.value: count for state, count in self._states.items()})

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
            case CapacityChanged():
                self._resize(event)
            case WorkerLeft():
                instructions += self._leave(event, now_s)
            case RunStarted():
                self._start(event)
            case PointLanded():
                instructions += self._land(event)
            case RunEnded():
                self._end(event, now_s)
            case RunPaused():
                self._pause(event)
            case DrainRequested():
                instructions += self._drain()
            case TimePassed():
                pass
        self._heed_rule()
        return instructions + self._grant_all(now_s)

    def _current(self, trial_id: TrialId, attempt: int) -> _Entry | None:
        """Return the trial's entry if the attempt is the one that holds its lease."""
        entry = self._entries.get(trial_id)
        if entry is None or entry.attempt != attempt or entry.worker is None:
            return None
        return entry

    def _resize(self, event: CapacityChanged) -> None:
        worker = self._workers.get(event.worker_id)
        if worker is not None:
            worker.capacity = event.capacity

    def _start(self, event: RunStarted) -> None:
        entry = self._current(event.trial_id, event.attempt)
        if entry is not None:
            self._move(entry, TrialState.RUNNING)

    def _pause(self, event: RunPaused) -> None:
        entry = self._current(event.trial_id, event.attempt)
        if entry is not None:
            self._give_back(entry)
            self._wait(entry)

    def _land(self, event: PointLanded) -> Iterable[Instruction]:
        entry = self._current(event.trial_id, event.attempt)
        if entry is None or entry.worker is None:
            return
        if event.epoch > entry.epochs:
            entry.epochs = event.epoch
            entry.deaths = entry.losses = 0
        if event.epoch < self._rule.milestone(entry.trial, event.epoch - 1):
            return
        entry.judgement = self._rule.judge(entry.trial, event.epoch, event.metrics)
        if event.epoch >= entry.trial.max_epochs:
            return
        match entry.judgement:
            case RunOn(until):
                yield ExtendRun(event.trial_id, event.attempt, entry.worker, until)
            case EndHere():
                yield StopRun(event.trial_id, event.attempt, entry.worker)
            case StandBy():
                yield PauseRun(event.trial_id, event.attempt, entry.worker)

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
        worker = self._workers.get(event.worker_id)
        if worker is None:
            return
        for trial_id in self.leases_of(event.worker_id):
            entry = self._entries[trial_id]
            was_running = entry.state is TrialState.RUNNING
            self._give_back(entry)
            if not was_running:
                self._wait(entry)
                continue
            entry.deaths += event.blames_trial
            if entry.deaths >= MAX_DEATHS:
                reason = f"{entry.deaths} workers died one after another under it; the last: {event.reason}"
                self._finish(entry, Outcome.FAILED)
                yield Conclude(trial_id, entry.attempt, Outcome.FAILED, reason)
            else:
                self._rest(entry, now_s)
        del self._workers[event.worker_id]

    def _drain(self) -> Iterable[Instruction]:
        self._is_draining = True
        for worker_id in self._workers:
            for trial_id in self.leases_of(worker_id):
                yield PauseRun(trial_id, self._entries[trial_id].attempt, worker_id)

    def _give_back(self, entry: _Entry) -> None:
        """Take the trial from its worker; where it goes is the caller's next step."""
        if entry.worker is not None:
            self._workers[entry.worker].leases.discard(entry.trial.trial_id)
        entry.worker = None

    def _move(self, entry: _Entry, state: TrialState) -> None:
        self._states[entry.state] -= 1
        self._states[state] += 1
        entry.state = state

    def _finish(self, entry: _Entry, outcome: Outcome) -> None:
        self._move(entry, TrialState.FINISHED)
        self._rule.end(entry.trial, outcome)

    def _wait(self, entry: _Entry) -> None:
        """Let a trial that has no worker wait for one, or for its rule."""
        if isinstance(entry.judgement, StandBy):
            self._move(entry, TrialState.STANDING_BY)
            return
        self._move(entry, TrialState.PENDING)
        self._waiting.push_begun(entry.trial.trial_id)

    def _rest(self, entry: _Entry, now_s: float) -> None:
        entry.losses += 1
        if isinstance(entry.judgement, StandBy):
            self._wait(entry)
            return
        self._move(entry, TrialState.PENDING)
        pause_s = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(entry.losses - 1, 30))
        self._waiting.rest(entry.trial.trial_id, now_s + pause_s)

    def _heed_rule(self) -> None:
        """Take in what the rule decided of trials that stand by."""
        for trial_id, decision in self._rule.decisions():
            self._decide(self._entries[trial_id], decision)
        waits = self._states[TrialState.STANDING_BY]
        if waits and waits + self._states[TrialState.FINISHED] == len(self._entries):
            # Nothing is left that could bring the rule to a decision: they run on.
            for entry in self._entries.values():
                if entry.state is TrialState.STANDING_BY:
                    self._decide(entry, RunOn(self._rule.milestone(entry.trial, entry.epochs)))

    def _decide(self, entry: _Entry, decision: RunOn | EndHere) -> None:
        if entry.state is TrialState.FINISHED:
            return
        entry.judgement = decision
        if entry.state is TrialState.STANDING_BY:
            self._wait(entry)

    def _grant_all(self, now_s: float) -> list[Instruction]:
        instructions: list[Instruction] = []
        while not self._is_draining and (free := self._freest_worker()) is not None:
            trial_id = self._waiting.pop(now_s)
            if trial_id is None:
                break
            instructions += self._grant(self._entries[trial_id], free)
        return instructions

    def _freest_worker(self) -> WorkerId | None:
        """Return the worker with the fewest leases that may take one more."""
        best: WorkerId | None = None
        for worker_id, worker in self._workers.items():
            if len(worker.leases) < worker.capacity and (
                best is None or len(worker.leases) < len(self._workers[best].leases)
            ):
                best = worker_id
        return best

    def _grant(self, entry: _Entry, worker_id: WorkerId) -> Iterable[Instruction]:
        trial_id = entry.trial.trial_id
        entry.attempt += 1
        entry.worker = worker_id
        self._move(entry, TrialState.LEASED)
        self._workers[worker_id].leases.add(trial_id)
        until = self._rule.milestone(entry.trial, entry.epochs)
        if isinstance(entry.judgement, RunOn):
            until = max(until, entry.judgement.until_epoch)
        yield Grant(trial_id, entry.attempt, worker_id, min(entry.trial.max_epochs, until))
        if isinstance(entry.judgement, EndHere):
            # Judged, and lost before it was ended: it trains no further, but a worker exports its adapter.
            yield StopRun(trial_id, entry.attempt, worker_id)

    def validate(self) -> None:
        """Check every invariant.

        Raises:
            AssertionError: One is broken: a bug of ours.
        """
        held = {trial_id: name for name, worker in self._workers.items() for trial_id in worker.leases}
        waiting = self._waiting.trials()
        for trial_id, entry in self._entries.items():
            on_worker = entry.state in (TrialState.LEASED, TrialState.RUNNING)
            assert on_worker == (trial_id in held) == (entry.worker is not None)
            assert entry.worker == held.get(trial_id)
            assert waiting[trial_id] == (entry.state is TrialState.PENDING)
            if entry.state is TrialState.STANDING_BY:
                assert isinstance(entry.judgement, StandBy)
        assert self._states == Counter(entry.state for entry in self._entries.values())
