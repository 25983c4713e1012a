"""A worker session: commands in, reports out, one training thread that never dies silently."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from orchestrator.contracts import (
    Acknowledge,
    Assign,
    Command,
    DescribeTask,
    Extend,
    Lease,
    Outcome,
    Pause,
    PointMeasured,
    Release,
    Report,
    Stop,
    TaskDescribed,
    TaskRecord,
    TrialEnded,
    TrialId,
    TrialPaused,
    TrialStarted,
    WorkerStalledError,
)
from tests.support.tiny import SETTINGS, make_lease, make_task, make_trial
from workers.resident import resident_session
from workers.session import WorkerSession
from workers.tasks.records import Task
from workers.training.control import TrainerControl

TASK = make_task()

Start = Callable[..., WorkerSession]


def load(_source: str) -> Task:
    return TASK


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start sessions that are closed after the test."""
    sessions = []

    def make(**options: Any) -> WorkerSession:
        session = resident_session(str(tmp_path), "w1", **({"load_task": load} | options))
        sessions.append(session)
        return session

    yield make
    for session in sessions:
        session.close()


def until_end(session: WorkerSession, commands: list[Command], ends: int = 1) -> list[Report]:
    """Send commands, then collect reports until so many trials have ended."""
    reports = session.exchange(commands, 60.0)
    while sum(isinstance(report, TrialEnded) for report in reports) < ends:
        more = session.exchange([], 60.0)
        assert more, "no report for a minute"
        reports += more
    return reports


def until_epoch(session: WorkerSession, commands: list[Command], epoch: int) -> list[Report]:
    """Send commands, then collect reports until this epoch's point is among them."""
    reports = session.exchange(commands, 60.0)
    while not any(isinstance(report, PointMeasured) and report.point.epoch == epoch for report in reports):
        more = session.exchange([], 60.0)
        assert more, "no report for a minute"
        reports += more
    return reports


def epochs(reports: list[Report]) -> list[int]:
    return [report.point.epoch for report in reports if isinstance(report, PointMeasured)]


def test_a_trial_runs_to_its_end(start: Start, random_base: Path) -> None:
    lease = make_lease(make_trial(random_base, TASK))
    reports = until_end(start(), [Assign(leases=(lease,))])
    assert isinstance(reports[0], TrialStarted)
    assert epochs(reports) == [1, 2, 3]
    assert isinstance(reports[-1], TrialEnded)
    assert reports[-1].outcome is Outcome.COMPLETED


def test_a_trial_waits_at_its_milestone_until_extended(start: Start, random_base: Path) -> None:
    session = start()
    trial = make_trial(random_base, TASK)
    reports = until_epoch(session, [Assign(leases=(make_lease(trial, run_until_epoch=1),))], 1)
    assert epochs(reports) == [1]
    assert session.exchange([], 0.3) == []
    extend = Extend(trial_id=trial.trial_id, attempt=0, run_until_epoch=3)
    rest = until_end(session, [extend])
    assert epochs(rest) == [2, 3]


def test_a_trial_stops_at_its_milestone(start: Start, random_base: Path) -> None:
    session = start()
    trial = make_trial(random_base, TASK)
    until_epoch(session, [Assign(leases=(make_lease(trial, run_until_epoch=2),))], 2)
    (ended,) = until_end(session, [Stop(trial_id=trial.trial_id, attempt=0)])
    assert isinstance(ended, TrialEnded)
    assert (ended.outcome, ended.epochs) == (Outcome.STOPPED, 2)


def test_a_stop_is_heard_after_the_epoch_in_hand(start: Start, random_base: Path) -> None:
    training, stopped = threading.Event(), threading.Event()

    def fault(name: str) -> None:
        if name == "epoch_trained":
            training.set()
            assert stopped.wait(60)

    session = start(fault=fault)
    trial = make_trial(random_base, TASK)
    session.exchange([Assign(leases=(make_lease(trial),))], 0)
    assert training.wait(60)
    session.exchange([Stop(trial_id=trial.trial_id, attempt=0)], 0)
    stopped.set()
    reports = until_end(session, [])
    assert epochs(reports) == [1]
    assert isinstance(reports[-1], TrialEnded)
    assert reports[-1].outcome is Outcome.STOPPED


def test_paused_trial_lets_go_after_the_epoch_in_hand_and_the_next_attempt_continues_it(
    start: Start, random_base: Path
) -> None:
    session = start()
    trial = make_trial(random_base, TASK)
    until_epoch(session, [Assign(leases=(make_lease(trial, run_until_epoch=2),))], 2)
    (paused,) = session.exchange([Pause(trial_id=trial.trial_id, attempt=0)], 60.0)
    assert paused == TrialPaused(trial_id=trial.trial_id, attempt=0)
    again = until_end(session, [Assign(leases=(make_lease(trial, attempt=1, committed_epochs=2),))])
    assert isinstance(again[0], TrialStarted)
    assert again[0].from_epoch == 2
    assert epochs(again) == [3]


def test_paused_trial_that_waits_in_the_queue_is_given_back_unbegun(start: Start, random_base: Path) -> None:
    session = start()
    first, second = (make_trial(random_base, TASK, seed=seed) for seed in range(2))
    commands: list[Command] = [
        Assign(leases=(make_lease(first, run_until_epoch=1),)),
        Assign(leases=(make_lease(second),)),
    ]
    until_epoch(session, commands, 1)
    assert session.exchange([Pause(trial_id=second.trial_id, attempt=0)], 60.0) == [
        TrialPaused(trial_id=second.trial_id, attempt=0)
    ]
    rest = until_end(session, [Stop(trial_id=first.trial_id, attempt=0)])
    assert {report.trial_id for report in rest if isinstance(report, TrialEnded)} == {first.trial_id}


class IdleTrainer:
    """Waits in its first trial: for a decision, or, where it hangs, for nothing."""

    def __init__(self, *, hangs: bool) -> None:
        self.hangs = hangs
        self.is_free = threading.Event()

    def prepare(self) -> None: ...

    def train(self, pack: Sequence[Lease], control: TrainerControl) -> None:
        if self.hangs:
            self.is_free.wait(60)
        else:
            control.wait(pack[0].trial.trial_id, pack[0].attempt, pack[0].run_until_epoch)

    def describe(self, command: DescribeTask) -> TaskRecord:
        raise AssertionError("nothing is described here")

    def release(self, trial_id: TrialId, attempt: int) -> None: ...

    def facts(self) -> dict[str, str]:
        return {}


@pytest.mark.parametrize("hangs", [True, False])
def test_worker_that_makes_no_step_refuses_to_answer_unless_it_waits_for_a_decision(
    random_base: Path, hangs: bool
) -> None:
    trainer = IdleTrainer(hangs=hangs)
    session = WorkerSession("w1", trainer, stalled_after_s=0.2)
    session.exchange([Assign(leases=(make_lease(make_trial(random_base, TASK), run_until_epoch=1),))], 0.5)
    if hangs:
        with pytest.raises(WorkerStalledError, match="worker w1 has made no step for"):
            session.exchange([], 0.0)
    else:
        assert session.exchange([], 0.0) == []
    trainer.is_free.set()
    session.close()


def test_trial_beyond_its_time_limit_has_timed_out(start: Start, random_base: Path) -> None:
    lease = make_lease(make_trial(random_base, TASK), spent_s=100.5, time_limit_s=100.0)
    reports = until_end(start(), [Assign(leases=(lease,))])
    assert isinstance(reports[-1], TrialEnded)
    assert reports[-1].outcome is Outcome.TIMED_OUT
    assert "beyond trial_timeout_s = 100" in (reports[-1].error or "")


def test_queued_trials_follow_at_once(start: Start, random_base: Path) -> None:
    trials = [make_trial(random_base, TASK, seed=seed, max_epochs=1) for seed in range(3)]
    pack, single = trials[:2], trials[2]
    commands: list[Command] = [
        Assign(leases=tuple(make_lease(trial) for trial in pack)),
        Assign(leases=(make_lease(single),)),
    ]
    reports = until_end(start(), commands, ends=3)
    ended = [report.trial_id for report in reports if isinstance(report, TrialEnded)]
    assert ended == [trial.trial_id for trial in trials]


def test_messages_that_come_twice_do_nothing_the_second_time(start: Start, random_base: Path) -> None:
    session = start()
    trial = make_trial(random_base, TASK)
    assign = Assign(leases=(make_lease(trial, run_until_epoch=1),))
    extend = Extend(trial_id=trial.trial_id, attempt=0, run_until_epoch=3)
    first = until_epoch(session, [assign, assign], 1)
    rest = until_end(session, [extend, extend, assign])
    assert epochs(first + rest) == [1, 2, 3]
    assert session.exchange([assign, extend], 0.3) == []


def test_messages_of_an_older_attempt_are_dropped(start: Start, random_base: Path) -> None:
    session = start()
    trial = make_trial(random_base, TASK)
    newer = Assign(leases=(make_lease(trial, attempt=2, run_until_epoch=1),))
    until_epoch(session, [newer], 1)
    old: list[Command] = [
        Assign(leases=(make_lease(trial, attempt=1),)),
        Stop(trial_id=trial.trial_id, attempt=1),
        Extend(trial_id=trial.trial_id, attempt=1, run_until_epoch=3),
        Release(trial_id=trial.trial_id, attempt=1),
    ]
    assert session.exchange(old, 0.3) == []
    reports = until_end(
        session,
        [
            Extend(trial_id=trial.trial_id, attempt=2, run_until_epoch=2),
            Stop(trial_id=trial.trial_id, attempt=2),
        ],
    )
    assert isinstance(reports[-1], TrialEnded)
    assert reports[-1].attempt == 2


def test_a_newer_attempt_takes_over_from_the_checkpoint(start: Start, random_base: Path) -> None:
    session = start()
    trial = make_trial(random_base, TASK)
    until_epoch(session, [Assign(leases=(make_lease(trial, run_until_epoch=1),))], 1)
    newer = make_lease(trial, attempt=1, committed_epochs=1)
    reports = until_end(session, [Assign(leases=(newer,))])
    assert isinstance(reports[0], TrialStarted)
    assert (reports[0].attempt, reports[0].from_epoch) == (1, 1)
    assert epochs(reports) == [2, 3]
    assert all(report.attempt == 1 for report in reports if isinstance(report, TrialEnded))


def test_release_removes_the_checkpoints(start: Start, random_base: Path, tmp_path: Path) -> None:
    session = start()
    trial = make_trial(random_base, TASK)
    until_end(session, [Assign(leases=(make_lease(trial),))])
    folder = tmp_path / "checkpoints" / trial.trial_id
    assert folder.exists()
    session.exchange([Release(trial_id=trial.trial_id, attempt=0)], 0)
    assert not folder.exists()


def test_unacknowledged_checkpoints_stay(start: Start, random_base: Path, tmp_path: Path) -> None:
    session = start()
    trial = make_trial(random_base, TASK, max_epochs=4)
    until_epoch(session, [Assign(leases=(make_lease(trial, run_until_epoch=3),))], 3)
    assert len(list(tmp_path.glob("checkpoints/*/attempt-0/epoch-*"))) == 3
    acknowledged = Acknowledge(trial_id=trial.trial_id, attempt=0, epoch=3)
    until_end(session, [acknowledged, Extend(trial_id=trial.trial_id, attempt=0, run_until_epoch=4)])
    kept = sorted(path.name for path in tmp_path.glob("checkpoints/*/attempt-0/epoch-*"))
    assert kept == ["epoch-0002", "epoch-0003", "epoch-0004"]


def test_an_error_outside_any_trial_fails_the_pack_and_the_next_one_runs(
    start: Start, random_base: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    session = start()
    trials = [make_trial(random_base, TASK, seed=seed, max_epochs=1) for seed in range(3)]
    broken = True

    def sometimes(device: object) -> int:
        if broken:
            raise RuntimeError("the memory counter is gone")
        return 1

    monkeypatch.setattr("workers.training.trainer.reset_peak_memory", sometimes)
    with caplog.at_level(logging.ERROR):
        reports = until_end(session, [Assign(leases=tuple(make_lease(t) for t in trials[:2]))], ends=2)
    ends = [report for report in reports if isinstance(report, TrialEnded)]
    assert [end.outcome for end in ends] == [Outcome.FAILED] * 2
    assert all("the memory counter is gone" in (end.error or "") for end in ends)
    broken = False
    after = until_end(session, [Assign(leases=(make_lease(trials[2]),))])
    assert isinstance(after[-1], TrialEnded)
    assert after[-1].outcome is Outcome.COMPLETED


def test_a_task_that_cannot_be_loaded_fails_its_trial_with_the_reason(
    start: Start, random_base: Path
) -> None:
    def broken(_source: str) -> Task:
        raise FileNotFoundError("tasks/none.jsonl")

    reports = until_end(
        start(load_task=broken), [Assign(leases=(make_lease(make_trial(random_base, TASK)),))]
    )
    assert isinstance(reports[-1], TrialEnded)
    assert reports[-1].outcome is Outcome.FAILED
    assert "tasks/none.jsonl" in (reports[-1].error or "")


def test_a_task_is_described_after_the_trials_before_it(start: Start, random_base: Path) -> None:
    session = start()
    trial = make_trial(random_base, TASK, max_epochs=1)
    fields: dict[str, Any] = {"task_id": TASK.task_id, "source": "memory", "name": "elders"}
    fields |= {"base_model": str(random_base), "settings": SETTINGS}
    commands: list[Command] = [Assign(leases=(make_lease(trial),)), DescribeTask(**fields)]
    reports = until_end(session, commands)
    while not isinstance(reports[-1], TaskDescribed):
        reports += session.exchange([], 60.0)
    assert isinstance(reports[-2], TrialEnded)
    record = reports[-1].record
    assert record is not None
    assert (record.name, record.train_examples, record.eval_examples) == ("elders", 24, 6)
    assert record.meta_features["wordings_per_fact"] == 4.0
    assert record.meta_features["zero_shot_loss"] > 3.0
    (refused,) = session.exchange([DescribeTask(**(fields | {"task_id": "other"}))], 60.0)
    assert isinstance(refused, TaskDescribed)
    assert refused.record is None
    assert "other rows on this worker" in (refused.error or "")


def test_exchange_waits_no_longer_than_told(start: Start) -> None:
    assert start().exchange([], 0.05) == []


def test_a_worker_says_what_it_is(start: Start) -> None:
    described = start().describe()
    assert described["worker"] == "w1"
    assert {"host", "pid", "device", "torch", "transformers", "peft"} <= set(described)


def test_closing_abandons_a_waiting_trial_without_an_outcome(random_base: Path, tmp_path: Path) -> None:
    session = resident_session(str(tmp_path), "w1", load_task=load)
    until_epoch(session, [Assign(leases=(make_lease(make_trial(random_base, TASK), run_until_epoch=1),))], 1)
    session.close()
    assert session.exchange([], 0) == []
