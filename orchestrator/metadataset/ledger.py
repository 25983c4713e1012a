"""The ledger: the only writer of a root's tables, and the only truth about what happened.

Owned by one driver process; dies with it at any moment and loses nothing that was committed. ``record_``
methods and ``grant`` judge a row and buffer it; ``commit`` puts all of them on disk with one fsync, and only
then may anyone be told. ``publish`` makes Parquet follow. Not for use from several threads.
"""

import logging
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from orchestrator.contracts import (
    AttemptRecord,
    CurvePoint,
    InputError,
    TaskRecord,
    TrialId,
    TrialResult,
    WorkerId,
)
from orchestrator.metadataset.durable import Fault, make_folder_durably, no_fault, remove_durably
from orchestrator.metadataset.errors import CommitUnknownError, StorageError
from orchestrator.metadataset.index import AttemptEvent, Receipt, TrialIndex, TrialProgress
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.lock import RootLock
from orchestrator.metadataset.recovery import Recovered, record_sealed, recover
from orchestrator.metadataset.rows import attempt_row, curve_row, task_row, trial_row
from orchestrator.metadataset.schema import Table
from orchestrator.metadataset.segments import LogRow, SegmentWriter
from orchestrator.metadataset.tail import Tail

PUBLISH_INTERVAL_S = 1.0
"""Parquet follows the log at most this often; half of the two seconds that are promised."""
SEAL_ROWS = 16_384
"""Rows of one table at which the parts are sealed."""
SEAL_PART_BYTES = 2 * 2**20
"""Size of a part at which they are sealed: small enough to be written anew every second."""
SEAL_LOG_BYTES = 32 * 2**20
"""Size of the log segment at which they are sealed."""

logger = logging.getLogger(__name__)


class Ledger:
    """An open root; made by ``Ledger.open``, used as a context manager.

    Leaving the context normally closes the ledger. Leaving it with an exception is treated as a crash: what
    was committed stands, the rest is dropped, and Parquet follows when the root is opened again.

    Args:
        layout: Names the files.
        lock: The right to write.
        recovered: The state found on disk.
        clock: Monotonic seconds.
        fault: Called before and after every step that writes.
        publish_interval_s: See ``PUBLISH_INTERVAL_S``.
        seal_rows: See ``SEAL_ROWS``.
    """

    def __init__(
        self,
        layout: RootLayout,
        lock: RootLock,
        recovered: Recovered,
        *,
        clock: Callable[[], float],
        fault: Fault,
        publish_interval_s: float,
        seal_rows: int,
    ) -> None:
        self._layout = layout
        self._lock = lock
        self._clock = clock
        self._fault = fault
        self._publish_interval_s = publish_interval_s
        self._seal_rows = seal_rows
        self._number: int = recovered.number
        self._writer: SegmentWriter = recovered.writer
        self._index: TrialIndex = recovered.index
        self._tail: Tail = recovered.tail
        self._sealed = recovered.sealed
        self._has_other_columns = recovered.has_other_columns
        """Of the newest segment: begun by another release, it takes no rows of this one."""
        self._buffer: list[LogRow] = []
        self._is_open = True
        self._is_settled = True
        """False while, and if cut short after, a step whose half-way state must not be built upon."""
        self._published_at_s = clock()
        self._behind_since_s: float | None = self._published_at_s
        """When the oldest row was committed that Parquet lacks."""

    @classmethod
    def open(
        cls,
        root: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        fault: Fault = no_fault,
        publish_interval_s: float = PUBLISH_INTERVAL_S,
        seal_rows: int = SEAL_ROWS,
    ) -> "Ledger":
        """Open a root for writing, new or left by a crash; when it returns Parquet holds all rows.

        Args:
            root: The root's folder; made if it is not there.
            clock: Monotonic seconds.
            fault: Called before and after every step that writes; tests cut there.
            publish_interval_s: Parquet follows the log at most this often.
            seal_rows: Rows of one table at which its part is sealed.

        Returns:
            The ledger; it holds the root until it is closed.

        Raises:
            InputError: The root can't be written.
            RootInUseError: Another process writes to it.
            CorruptLedgerError: What is on disk was not left by a crash.
            StorageError: The system refused a write; opening again continues.
        """
        layout = RootLayout(root.absolute())
        try:
            make_folder_durably(layout.ledger_dir, fault=fault)
            lock = RootLock(layout.lock_file, root)
        except OSError as err:
            reason = f"{os.strerror(err.errno or 0)}: '{err.filename or layout.ledger_dir}'"
            raise InputError(f"{root} can't be written: {reason}; mend that or choose another root") from err
        with ExitStack() as undo:
            undo.callback(lock.release)
            try:
                recovered = recover(layout, fault)
            except OSError as err:
                raise _storage_error(layout.ledger_dir, err) from err
            undo.callback(recovered.writer.close)
            ledger = cls(
                layout,
                lock,
                recovered,
                clock=clock,
                fault=fault,
                publish_interval_s=publish_interval_s,
                seal_rows=seal_rows,
            )
            ledger.publish()
            undo.pop_all()
        return ledger

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._let_go()

    def progress(self, trial_id: TrialId) -> TrialProgress:
        """Return what is on record of a trial, rows that wait for the next commit included."""
        return self._index.progress(trial_id)

    @property
    def lag_s(self) -> float:
        """Seconds for which the oldest committed row has been missing in Parquet; 0 if none is."""
        return 0.0 if self._behind_since_s is None else self._clock() - self._behind_since_s

    def grant(self, trial_id: TrialId, worker_id: WorkerId, *, reopen: bool = False) -> int:
        """Begin a new attempt of a trial; the one before it, if it is still open, is lost and fenced off.

        Args:
            trial_id: The trial.
            worker_id: Who will run it; must be told after the next commit only.
            reopen: Whether a trial that ended well may be trained further; its next end is a row of its own.

        Returns:
            The attempt's number.

        Raises:
            ValueError: The trial is finished.
        """
        attempt = self._index.judge_grant(trial_id, reopen=reopen)
        if attempt > 0 and self._index.is_open(trial_id):
            self._journal(trial_id, attempt - 1, AttemptEvent.LOST, detail=f"attempt {attempt} was granted")
        self._journal(trial_id, attempt, AttemptEvent.GRANTED, worker=worker_id)
        return attempt

    def record_started(self, trial_id: TrialId, attempt: int) -> Receipt:
        """Journal that a worker has begun an attempt.

        Args:
            trial_id: The trial.
            attempt: The attempt.

        Returns:
            ``DUPLICATE`` if the journal says so already.

        Raises:
            LeaseLostError: Another attempt holds the trial, or this one is over.
            ValueError: The attempt was never granted.
        """
        receipt = self._index.judge_event(trial_id, attempt, AttemptEvent.STARTED)
        if receipt is Receipt.NEW:
            self._journal(trial_id, attempt, AttemptEvent.STARTED)
        return receipt

    def record_lost(self, trial_id: TrialId, attempt: int, detail: str) -> Receipt:
        """Journal that infrastructure died under an attempt; its later points are refused.

        Args:
            trial_id: The trial.
            attempt: The attempt.
            detail: What died, and how.

        Returns:
            ``DUPLICATE`` if the journal says so already.

        Raises:
            LeaseLostError: Another attempt holds the trial, or this one has finished.
            ValueError: The attempt was never granted.
        """
        receipt = self._index.judge_event(trial_id, attempt, AttemptEvent.LOST)
        if receipt is Receipt.NEW:
            self._journal(trial_id, attempt, AttemptEvent.LOST, detail=detail)
        return receipt

    def record_paused(self, trial_id: TrialId, attempt: int, detail: str) -> Receipt:
        """Journal that a worker has let go of an attempt as it was told to; raises as ``record_lost``.

        Args:
            trial_id: The trial.
            attempt: The attempt.
            detail: Why it was to let go.

        Returns:
            ``DUPLICATE`` if the attempt is over already.
        """
        receipt = self._index.judge_event(trial_id, attempt, AttemptEvent.PAUSED)
        if receipt is Receipt.NEW:
            self._journal(trial_id, attempt, AttemptEvent.PAUSED, detail=detail)
        return receipt

    def record_point(self, point: CurvePoint) -> Receipt:
        """Take in a curve point.

        Args:
            point: One epoch of the trial's newest attempt.

        Returns:
            ``DUPLICATE`` if the epoch is on record; the row there stands.

        Raises:
            LeaseLostError: Another attempt holds the trial, or this one is over.
            CurveGapError: The epoch before it is not on record.
            ValueError: The attempt was never granted, or a value is out of range.
        """
        row = curve_row(point)
        receipt = self._index.judge_point(point.trial_id, point.attempt, point.epoch)
        if receipt is Receipt.NEW:
            self._index.note_point(point.trial_id, point.attempt, point.epoch, point.train_s, point.eval_s)
            self._buffer.append((Table.CURVES, row))
        return receipt

    def record_result(self, result: TrialResult) -> Receipt:
        """Take in a trial's outcome; the trial takes nothing more after it.

        Args:
            result: Of the trial's newest attempt, be it a lost one: so a driver gives a trial up.

        Returns:
            ``DUPLICATE`` if the trial has an outcome; that one stands.

        Raises:
            LeaseLostError: Another attempt holds the trial.
            ValueError: The attempt was never granted, the outcome is ``lost``, or the epochs are not the
                curve's.
        """
        row = trial_row(result)
        trial_id = result.trial.trial_id
        receipt = self._index.judge_result(trial_id, result.attempt, result.outcome, result.epochs)
        if receipt is Receipt.NEW:
            self._index.note_result(trial_id, result.attempt, result.outcome, result.epochs)
            self._buffer.append((Table.TRIALS, row))
            self._journal(trial_id, result.attempt, AttemptEvent.FINISHED, detail=result.outcome.value)
        return receipt

    def record_task(self, record: TaskRecord) -> Receipt:
        """Take in a task's row; the first one stands. Raises ``ValueError`` if a value is out of range."""
        row = task_row(record)
        receipt = self._index.judge_task(record.task_id)
        if receipt is Receipt.NEW:
            self._index.note_task(record.task_id)
            self._buffer.append((Table.TASKS, row))
        return receipt

    def commit(self) -> int:
        """Put all rows taken in since the last commit on disk: all of them or, after a crash, none.

        Returns:
            How many rows landed.

        Raises:
            StorageError: Nothing landed; the rows wait, and the same call may be made again.
            CommitUnknownError: They may have landed or not; the ledger takes nothing more, and opening again
                settles it.
        """
        self._require_settled()
        if not self._buffer:
            return 0
        self._is_settled = False
        try:
            self._writer.append(self._buffer)
        except StorageError:
            self._is_settled = True
            raise
        for table, row in self._buffer:
            self._tail.add(table, row)
        landed = len(self._buffer)
        self._buffer = []
        self._is_settled = True
        if self._behind_since_s is None:
            self._behind_since_s = self._clock()
        return landed

    def publish_if_due(self) -> bool:
        """Publish if Parquet lacks committed rows and was not written within the last interval.

        Returns:
            Whether it published.

        Raises:
            StorageError: The system refused; the rows are safe in the log, the call may be made again.
        """
        if self._behind_since_s is None:
            return False
        if self._clock() - self._published_at_s < self._publish_interval_s and not self._is_full():
            return False
        self.publish()
        return True

    def publish(self) -> None:
        """Bring Parquet up to the last commit, and seal the newest parts once they are large.

        Raises:
            StorageError: The system refused; the rows are safe in the log, the call may be made again.
            CommitUnknownError: An earlier step was cut short; opening again settles it.
        """
        self._require_settled()
        try:
            self._tail.publish(self._fault)
            self._behind_since_s = None
            self._published_at_s = self._clock()
            if self._is_full():
                self._seal()
        except OSError as err:
            raise _storage_error(self._layout.root, err) from err

    def close(self) -> None:
        """Commit, publish and let the next writer in; harmless when done already.

        Raises:
            StorageError: The system refused; what was committed before stands.
            CommitUnknownError: As ``commit``.
        """
        if not self._is_open:
            return
        try:
            self.commit()
            self.publish()
        finally:
            self._let_go()

    def _journal(
        self,
        trial_id: TrialId,
        attempt: int,
        event: AttemptEvent,
        *,
        worker: str | None = None,
        detail: str = "",
    ) -> None:
        holder = self._index.worker_of(trial_id) if worker is None else worker
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        record = AttemptRecord(
            trial_id=trial_id, attempt=attempt, event=event.value, worker=holder, detail=detail, at=at
        )
        row = attempt_row(record)
        self._index.note_event(trial_id, attempt, event, holder)
        self._buffer.append((Table.ATTEMPTS, row))

    def _is_full(self) -> bool:
        is_over = self._has_other_columns or self._writer.size_bytes >= SEAL_LOG_BYTES
        return is_over or self._tail.is_full(rows=self._seal_rows, size_bytes=SEAL_PART_BYTES)

    def _seal(self) -> None:
        """End the newest segment, whose parts are whole, and begin the next."""
        sealed_number = self._number
        record_sealed(self._sealed, sealed_number, self._tail)
        self._is_settled = False
        try:
            writer = SegmentWriter.create(self._layout, sealed_number + 1, self._sealed, self._fault)
        except OSError:
            # With a successor on disk the old segment may not grow: its torn tail would pass for damage.
            self._is_settled = not self._layout.segment(sealed_number + 1).exists()
            raise
        self._writer.close()
        self._writer, self._number, self._tail = (
            writer,
            sealed_number + 1,
            Tail(self._layout, sealed_number + 1),
        )
        self._has_other_columns = False
        self._is_settled = True
        logger.info("parts sealed number=%d", sealed_number)
        remove_durably(self._layout.segment(sealed_number), fault=self._fault, name="sealed segment")

    def _require_settled(self) -> None:
        if not self._is_open:
            raise ValueError(f"the ledger of {self._layout.root} is closed; open it again")
        if not self._is_settled:
            raise CommitUnknownError(str(self._layout.ledger_dir), "an earlier step was cut short")

    def _let_go(self) -> None:
        self._is_open = False
        self._writer.close()
        self._lock.release()


def _storage_error(path: Path, err: OSError) -> StorageError:
    return StorageError(str(err.filename or path), os.strerror(err.errno or 0) if err.errno else str(err))
