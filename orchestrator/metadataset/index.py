"""What the ledger knows of every trial without reading a table: the rules of what may land.

Epochs of a trial follow one another from 1. The first row of an epoch wins. A trial's newest attempt alone
may write, and only until it is lost, paused or finished; a finished trial takes nothing more, unless it ended
well and is reopened to be trained further.
"""

import enum
from dataclasses import dataclass

from orchestrator.contracts import LeaseLostError, Outcome, TaskId, TrialId
from orchestrator.metadataset.errors import CurveGapError, LeaseEndedError


class Receipt(enum.Enum):
    """What became of a row that was handed in."""

    NEW = "new"
    """It will be on disk with the next commit."""
    DUPLICATE = "duplicate"
    """A row of its key came before; that one stands, this one is dropped."""


class AttemptEvent(enum.StrEnum):
    """What happens to an attempt."""

    GRANTED = "granted"
    STARTED = "started"
    LOST = "lost"
    PAUSED = "paused"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class TrialProgress:
    """What is on record of a trial, rows that wait for the next commit included."""

    epochs: int = 0
    train_s: float = 0.0
    """Training seconds over the epochs on record."""
    eval_s: float = 0.0
    """Evaluation seconds over the epochs on record."""
    attempt: int = -1
    """The newest attempt granted; -1 for none."""
    outcome: Outcome | None = None


@dataclass(slots=True)
class _Entry:
    epochs: int = 0
    train_s: float = 0.0
    eval_s: float = 0.0
    attempt: int = -1
    worker: str = ""
    is_started: bool = False
    is_lost: bool = False
    is_paused: bool = False
    outcome: Outcome | None = None

    @property
    def is_over(self) -> bool:
        """Whether the newest attempt was given up, without an outcome."""
        return self.is_lost or self.is_paused


class TrialIndex:
    """Judges what may land, then takes note of it; ``note_`` methods also rebuild it from what is on disk."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._tasks: set[str] = set()

    def progress(self, trial_id: TrialId) -> TrialProgress:
        """Return what is on record of a trial; of an unknown one: nothing."""
        entry = self._entries.get(trial_id)
        if entry is None:
            return TrialProgress()
        return TrialProgress(entry.epochs, entry.train_s, entry.eval_s, entry.attempt, entry.outcome)

    def worker_of(self, trial_id: TrialId) -> str:
        """Return the worker that was granted the newest attempt of a trial."""
        return self._entries[trial_id].worker

    def is_open(self, trial_id: TrialId) -> bool:
        """Return whether the trial's newest attempt is neither lost, paused nor finished."""
        entry = self._entries.get(trial_id)
        return entry is not None and not entry.is_over and entry.outcome is None

    def judge_grant(self, trial_id: TrialId, *, reopen: bool = False) -> int:
        """Judge a new attempt.

        Args:
            trial_id: The trial.
            reopen: Whether a trial that ended well may be trained further.

        Returns:
            The attempt's number.

        Raises:
            ValueError: The trial is finished.
        """
        entry = self._entries.get(trial_id, _Entry())
        if entry.outcome is not None and not (reopen and entry.outcome.is_success):
            raise ValueError(
                f"trial {trial_id} finished as {entry.outcome}; a finished trial is not granted again"
            )
        return entry.attempt + 1

    def judge_event(self, trial_id: TrialId, attempt: int, event: AttemptEvent) -> Receipt:
        """Judge that an attempt was started, lost or paused.

        Args:
            trial_id: The trial.
            attempt: The attempt.
            event: ``STARTED``, ``LOST`` or ``PAUSED``.

        Returns:
            ``DUPLICATE`` if the journal says so already.

        Raises:
            LeaseLostError: Another attempt holds the trial, or this one is over.
            ValueError: The attempt was never granted.
        """
        entry = self._holding(trial_id, attempt)
        if event in (AttemptEvent.LOST, AttemptEvent.PAUSED) and entry.is_over:
            return Receipt.DUPLICATE
        if event is AttemptEvent.STARTED and entry.is_started:
            return Receipt.DUPLICATE
        self._refuse_ended(trial_id, entry)
        return Receipt.NEW

    def judge_point(self, trial_id: TrialId, attempt: int, epoch: int) -> Receipt:
        """Judge a curve point.

        Args:
            trial_id: Its trial.
            attempt: The attempt that reports it.
            epoch: Its epoch.

        Returns:
            ``DUPLICATE`` if the epoch is on record.

        Raises:
            LeaseLostError: Another attempt holds the trial, or this one is over.
            CurveGapError: The epoch before it is not on record.
            ValueError: The attempt was never granted, or the epoch is below 1.
        """
        entry = self._holding(trial_id, attempt)
        if epoch < 1:
            raise ValueError(f"trial {trial_id}: epochs count from 1, got {epoch}")
        if epoch <= entry.epochs and not entry.is_over:
            return Receipt.DUPLICATE
        self._refuse_ended(trial_id, entry)
        if epoch != entry.epochs + 1:
            raise CurveGapError(trial_id, epoch, entry.epochs)
        return Receipt.NEW

    def judge_result(self, trial_id: TrialId, attempt: int, outcome: Outcome, epochs: int) -> Receipt:
        """Judge an outcome.

        Args:
            trial_id: Its trial.
            attempt: The newest attempt, be it a lost one: so a driver gives a trial up.
            outcome: The outcome.
            epochs: Epochs on record.

        Returns:
            ``DUPLICATE`` if the trial has an outcome.

        Raises:
            LeaseLostError: Another attempt holds the trial.
            ValueError: The attempt was never granted, the outcome is no result, or the epochs are not the
                curve's.
        """
        entry = self._holding(trial_id, attempt)
        if entry.outcome is not None:
            return Receipt.DUPLICATE
        if not outcome.is_final:
            raise ValueError(f"trial {trial_id}: {outcome} is no result; record the attempt as lost")
        if epochs != entry.epochs:
            raise ValueError(
                f"trial {trial_id}: the result says {epochs} epochs, its curve has {entry.epochs}"
            )
        return Receipt.NEW

    def judge_task(self, task_id: TaskId) -> Receipt:
        """Judge a task's row."""
        return Receipt.DUPLICATE if task_id in self._tasks else Receipt.NEW

    def note_event(self, trial_id: str, attempt: int, event: AttemptEvent, worker: str) -> None:
        """Take note of a row of the journal; raises ``ValueError`` if it contradicts what came before."""
        if event is AttemptEvent.GRANTED:
            entry = self._entries.setdefault(trial_id, _Entry())
            can_open = entry.outcome is None or entry.outcome.is_success
            if attempt != entry.attempt + 1 or not can_open:
                raise ValueError(f"trial {trial_id}: attempt {attempt} granted after attempt {entry.attempt}")
            entry.attempt, entry.worker, entry.outcome = attempt, worker, None
            entry.is_started = entry.is_lost = entry.is_paused = False
            return
        entry = self._known(trial_id)
        if attempt != entry.attempt:
            raise ValueError(
                f"trial {trial_id}: attempt {attempt} {event} after attempt {entry.attempt} was granted"
            )
        entry.is_started |= event is AttemptEvent.STARTED
        entry.is_lost |= event is AttemptEvent.LOST
        entry.is_paused |= event is AttemptEvent.PAUSED

    def note_point(self, trial_id: str, attempt: int, epoch: int, train_s: float, eval_s: float) -> None:
        """Take note of a curve row; raises ``ValueError`` if it contradicts what came before."""
        entry = self._known(trial_id)
        if epoch != entry.epochs + 1:
            raise ValueError(f"trial {trial_id}: epoch {epoch} stands after epoch {entry.epochs}")
        if not 0 <= attempt <= entry.attempt:
            raise ValueError(
                f"trial {trial_id}: epoch {epoch} is of attempt {attempt}, which was never granted"
            )
        entry.epochs = epoch
        entry.train_s += train_s
        entry.eval_s += eval_s

    def note_result(self, trial_id: str, attempt: int, outcome: Outcome, epochs: int) -> None:
        """Take note of a trial's row; raises ``ValueError`` if it contradicts what came before."""
        entry = self._known(trial_id)
        if entry.outcome is not None:
            raise ValueError(f"trial {trial_id} has two outcomes, {entry.outcome} and {outcome}")
        if attempt != entry.attempt:
            raise ValueError(
                f"trial {trial_id} was finished by attempt {attempt}, the newest is {entry.attempt}"
            )
        if epochs != entry.epochs:
            raise ValueError(f"trial {trial_id} finished with {epochs} epochs, its curve has {entry.epochs}")
        entry.outcome = outcome

    def note_task(self, task_id: str) -> None:
        """Take note of a task's row; raises ``ValueError`` if the task has one."""
        if task_id in self._tasks:
            raise ValueError(f"task {task_id} stands twice")
        self._tasks.add(task_id)

    def _known(self, trial_id: str) -> _Entry:
        entry = self._entries.get(trial_id)
        if entry is None:
            raise ValueError(f"trial {trial_id} was never granted")
        return entry

    def _holding(self, trial_id: TrialId, attempt: int) -> _Entry:
        entry = self._known(trial_id)
        if not 0 <= attempt <= entry.attempt:
            raise ValueError(
                f"trial {trial_id}: attempt {attempt} was never granted, the newest is {entry.attempt}"
            )
        if attempt < entry.attempt:
            raise LeaseLostError(trial_id, attempt, entry.attempt)
        return entry

    def _refuse_ended(self, trial_id: TrialId, entry: _Entry) -> None:
        if entry.outcome is not None:
            raise LeaseEndedError(trial_id, entry.attempt, f"finished as {entry.outcome}")
        if entry.is_over:
            raise LeaseEndedError(trial_id, entry.attempt, "lost" if entry.is_lost else "paused")
