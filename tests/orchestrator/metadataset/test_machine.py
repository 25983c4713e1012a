"""Any order of grants, points, results, commits, publications and crashes, against a model of dicts."""

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from orchestrator.contracts import LeaseLostError, Outcome
from orchestrator.metadataset.errors import CurveGapError
from orchestrator.metadataset.index import Receipt
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.ledger import Ledger
from orchestrator.metadataset.schema import Table
from orchestrator.metadataset.verify import verify
from tests.orchestrator.metadataset.records import (
    WORKER,
    Crash,
    CrashAt,
    a_point,
    a_result,
    a_task,
    a_trial,
    keys,
)

pytestmark = pytest.mark.usefixtures("without_fsync")

TRIALS = [a_trial(index) for index in range(3)]
Key = tuple[object, ...]


@dataclass
class TrialModel:
    """What should be true of a trial."""

    attempt: int = -1
    is_lost: bool = False
    epochs: int = 0
    outcome: Outcome | None = None


@dataclass
class Model:
    """What should stand: the keys of every table's rows, and the trials."""

    rows: dict[Table, list[Key]] = field(default_factory=lambda: {table: [] for table in Table})
    trials: list[TrialModel] = field(default_factory=lambda: [TrialModel() for _ in TRIALS])

    def copy(self) -> "Model":
        return Model(
            {table: list(keys) for table, keys in self.rows.items()},
            [TrialModel(t.attempt, t.is_lost, t.epochs, t.outcome) for t in self.trials],
        )

    def journal(self, index: int, attempt: int, event: str) -> None:
        self.rows[Table.ATTEMPTS].append((TRIALS[index].trial_id, attempt, event))


class LedgerMachine(RuleBasedStateMachine):
    """The ledger and two models: ``durable`` is what must survive, ``pending`` what was handed in."""

    ledger: Ledger
    fault: CrashAt

    @initialize(seal_rows=st.integers(1, 12))
    def begin(self, seal_rows: int) -> None:
        self.root = Path(tempfile.mkdtemp())
        self.seal_rows = seal_rows
        self.durable, self.pending = Model(), Model()
        self.seen: dict[Table, list[Key]] = {table: [] for table in Table}
        self.reopen(None)

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            self.ledger.close()
            self.durable = self.pending
            self.check_tables(exactly=True)
            assert verify(self.root).ok, verify(self.root).render()
            shutil.rmtree(self.root)

    def reopen(self, dies_after: int | None) -> None:
        """Open, dying on the way as often as it takes to get through."""
        while True:
            self.fault = CrashAt(dies_after)
            try:
                self.ledger = Ledger.open(
                    self.root, fault=self.fault, publish_interval_s=0.0, seal_rows=self.seal_rows
                )
                break
            except Crash:
                dies_after = None if dies_after is None else dies_after + 3
        self.fault.left = None

    def crash(self, dies_again_after: int | None) -> None:
        """The process is gone; what it was committing landed whole or not at all."""
        self.ledger.__exit__(Crash, None, None)
        self.reopen(dies_again_after)
        landed = (
            len(keys(self.root, Table.ATTEMPTS)) + len(keys(self.root)) + len(keys(self.root, Table.TASKS))
        )
        if landed != sum(len(self.durable.rows[t]) for t in (Table.ATTEMPTS, Table.CURVES, Table.TASKS)):
            assert self.was_committing
            self.durable = self.pending
        self.pending = self.durable.copy()
        self.check_tables(exactly=True)

    was_committing = False

    @rule(index=st.integers(0, 2), reopen=st.booleans())
    def grant(self, index: int, reopen: bool) -> None:
        trial = self.pending.trials[index]
        if trial.outcome is not None and (not reopen or not trial.outcome.is_success):
            with pytest.raises(ValueError, match="a finished trial is not granted again"):
                self.ledger.grant(TRIALS[index].trial_id, WORKER, reopen=reopen)
            return
        if trial.attempt >= 0 and not trial.is_lost and trial.outcome is None:
            self.pending.journal(index, trial.attempt, "lost")
        trial.attempt, trial.is_lost, trial.outcome = trial.attempt + 1, False, None
        self.pending.journal(index, trial.attempt, "granted")
        assert self.ledger.grant(TRIALS[index].trial_id, WORKER, reopen=reopen) == trial.attempt

    @rule(index=st.integers(0, 2), behind=st.integers(0, 1), ahead=st.integers(-1, 2), commits=st.booleans())
    def point(self, index: int, behind: int, ahead: int, commits: bool) -> None:
        trial = self.pending.trials[index]
        attempt, epoch = trial.attempt - behind, trial.epochs + ahead
        if attempt < 0 or epoch < 1:
            return
        expected: object = Receipt.NEW
        if behind or trial.is_lost or (trial.outcome is not None and epoch > trial.epochs):
            expected = LeaseLostError
        elif epoch <= trial.epochs:
            expected = Receipt.DUPLICATE
        elif epoch > trial.epochs + 1:
            expected = CurveGapError
        try:
            got: object = self.ledger.record_point(a_point(TRIALS[index], epoch, attempt))
        except (LeaseLostError, CurveGapError) as err:
            got = LeaseLostError if isinstance(err, LeaseLostError) else CurveGapError
        assert got == expected
        if got is Receipt.NEW:
            trial.epochs = epoch
            self.pending.rows[Table.CURVES].append((TRIALS[index].trial_id, epoch))
        if commits:
            self.commit()

    @rule(index=st.integers(0, 2), outcome=st.sampled_from([Outcome.COMPLETED, Outcome.DIVERGED]))
    def result(self, index: int, outcome: Outcome) -> None:
        trial = self.pending.trials[index]
        if trial.attempt < 0:
            return
        result = a_result(TRIALS[index], trial.attempt, outcome=outcome, epochs=trial.epochs)
        if trial.outcome is not None:
            assert self.ledger.record_result(result) is Receipt.DUPLICATE
            return
        assert self.ledger.record_result(result) is Receipt.NEW
        trial.outcome = outcome
        self.pending.rows[Table.TRIALS].append((TRIALS[index].trial_id, trial.attempt))
        self.pending.journal(index, trial.attempt, "finished")

    @rule(index=st.integers(0, 2), pauses=st.booleans())
    def lose_or_pause(self, index: int, pauses: bool) -> None:
        trial = self.pending.trials[index]
        if trial.attempt < 0 or trial.outcome is not None:
            return
        expected = Receipt.DUPLICATE if trial.is_lost else Receipt.NEW
        record = self.ledger.record_paused if pauses else self.ledger.record_lost
        assert record(TRIALS[index].trial_id, trial.attempt, "gone") is expected
        if not trial.is_lost:
            trial.is_lost = True
            self.pending.journal(index, trial.attempt, "paused" if pauses else "lost")

    @rule(index=st.integers(0, 1))
    def task(self, index: int) -> None:
        key = (a_task(index).task_id,)
        is_known = key in self.pending.rows[Table.TASKS]
        assert self.ledger.record_task(a_task(index)) is (Receipt.DUPLICATE if is_known else Receipt.NEW)
        if not is_known:
            self.pending.rows[Table.TASKS].append(key)

    @rule()
    def commit(self) -> None:
        self.ledger.commit()
        self.durable = self.pending
        self.pending = self.durable.copy()

    @rule()
    def publish(self) -> None:
        self.ledger.publish()
        self.check_tables(exactly=True)

    @rule()
    def publish_if_due(self) -> None:
        self.ledger.publish_if_due()
        assert self.ledger.lag_s == 0.0

    @rule(again=st.none() | st.integers(0, 12))
    def die_between_calls(self, again: int | None) -> None:
        self.was_committing = False
        self.crash(again)

    @precondition(lambda self: self.pending.rows != self.durable.rows)
    @rule(steps=st.integers(0, 4), again=st.none() | st.integers(0, 12), torn=st.none() | st.floats(0, 1))
    def die_in_a_commit(self, steps: int, again: int | None, torn: float | None) -> None:
        newest = list(RootLayout(self.root).segments().values())[-1]
        before_bytes = newest.stat().st_size
        self.fault.left = steps
        try:
            self.ledger.commit()
            self.ledger.publish()
        except Crash as crash:
            self.was_committing = str(crash).startswith("commit: ")
            if not self.was_committing:
                self.durable = self.pending
            elif torn is not None:
                cut_bytes = int(torn * (newest.stat().st_size - before_bytes))
                newest.write_bytes(newest.read_bytes()[: before_bytes + cut_bytes])
        else:
            self.durable, self.was_committing = self.pending, False
        self.crash(again)

    @rule(steps=st.integers(0, 40), again=st.none() | st.integers(0, 12))
    def die_in_a_publication(self, steps: int, again: int | None) -> None:
        self.commit()
        self.was_committing = False
        self.fault.left = steps
        try:
            self.ledger.publish()
        except Crash:
            self.check_tables(exactly=False)
        self.crash(again)

    @invariant()
    def readers_see_whole_commits_in_order(self) -> None:
        if hasattr(self, "ledger"):
            self.check_tables(exactly=False)

    @invariant()
    def progress_is_the_models(self) -> None:
        for trial, model in zip(TRIALS, self.pending.trials if hasattr(self, "ledger") else [], strict=False):
            progress = self.ledger.progress(trial.trial_id)
            assert (progress.attempt, progress.epochs, progress.outcome) == (
                model.attempt,
                model.epochs,
                model.outcome,
            )
            assert progress.train_s == 0.5 * model.epochs

    def check_tables(self, *, exactly: bool) -> None:
        for table in Table:
            stands = keys(self.root, table)
            assert stands == self.durable.rows[table][: len(stands)]
            assert stands[: len(self.seen[table])] == self.seen[table]
            assert not exactly or len(stands) == len(self.durable.rows[table])
            self.seen[table] = stands


LedgerMachine.TestCase.settings = settings(max_examples=20, stateful_step_count=25, deadline=None)
TestLedger = LedgerMachine.TestCase


class LongLedgerMachine(LedgerMachine):
    """The same, for long."""


LongLedgerMachine.TestCase.settings = settings(max_examples=300, stateful_step_count=50, deadline=None)
TestLedgerForLong = pytest.mark.torture(pytest.mark.timeout(3600)(LongLedgerMachine.TestCase))
