from collections import Counter
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from orchestrator.contracts import Outcome, TaskId, TrainingSettings, Trial, TrialId, WorkerId
from orchestrator.scheduling import (
    CapacityChanged,
    Conclude,
    DrainRequested,
    EndHere,
    Event,
    ExtendRun,
    Fifo,
    Grant,
    Instruction,
    Judgement,
    Past,
    PauseRun,
    PointLanded,
    RunEnded,
    RunOn,
    RunPaused,
    RunStarted,
    Scheduler,
    StandBy,
    StopRun,
    TimePassed,
    WorkerJoined,
    WorkerLeft,
)
from orchestrator.scheduling.scheduler import FIRST_BACKOFF_S

EPOCHS = 4


def a_trial(task: int, index: int) -> Trial:
    return Trial(
        task_id=TaskId(f"task{task}"),
        task_source=f"worlds:{task}",
        task_name=f"t{task}",
        config={"index": index},
        seed=0,
        base_model="tiny-phi3",
        base_fingerprint="f",
        space_version="v",
        settings=TrainingSettings(horizon_epochs=EPOCHS),
        max_epochs=EPOCHS,
    )


def a_plan(tasks: int, configs: int) -> list[Trial]:
    return [a_trial(task, index) for task in range(tasks) for index in range(configs)]


def grants(instructions: list[Instruction]) -> list[Grant]:
    return [i for i in instructions if isinstance(i, Grant)]


W = WorkerId("w0")


def test_grants_take_tasks_in_turn_whatever_the_order_of_the_plan() -> None:
    scheduler = Scheduler(a_plan(3, 4))
    granted = grants(scheduler.handle(WorkerJoined(W, 6), now_s=0))
    by_id = {trial.trial_id: trial for trial in a_plan(3, 4)}
    assert Counter(by_id[g.trial_id].task_id for g in granted) == {"task0": 2, "task1": 2, "task2": 2}


def test_finished_trial_is_not_granted_again_but_a_whole_curve_without_outcome_is() -> None:
    plan = a_plan(1, 3)
    past = {
        plan[0].trial_id: Past(epochs=EPOCHS, last_attempt=0, outcome=Outcome.COMPLETED),
        plan[1].trial_id: Past(epochs=EPOCHS, last_attempt=2),
    }
    granted = grants(Scheduler(plan, past=past).handle(WorkerJoined(W, 5), now_s=0))
    assert granted == [Grant(plan[1].trial_id, 3, W, EPOCHS), Grant(plan[2].trial_id, 0, W, EPOCHS)]


def test_begun_trial_goes_before_fresh_ones_with_the_next_attempt_number() -> None:
    plan = a_plan(2, 2)
    scheduler = Scheduler(plan, past={plan[3].trial_id: Past(epochs=2, last_attempt=4)})
    first = grants(scheduler.handle(WorkerJoined(W, 1), now_s=0))[0]
    assert (first.trial_id, first.attempt) == (plan[3].trial_id, 5)


def test_trial_whose_worker_died_three_times_is_set_aside_as_failed() -> None:
    plan = a_plan(1, 1)
    scheduler = Scheduler(plan)
    now_s = 0.0
    for death in range(3):
        worker = WorkerId(f"w{death}")
        (grant,) = grants(scheduler.handle(WorkerJoined(worker, 1), now_s=now_s))
        scheduler.handle(RunStarted(grant.trial_id, grant.attempt), now_s=now_s)
        last = scheduler.handle(WorkerLeft(worker, True, "exit code -9"), now_s=now_s)
        now_s += 100
    (conclusion,) = last
    assert isinstance(conclusion, Conclude)
    assert conclusion.outcome is Outcome.FAILED
    assert "exit code -9" in str(conclusion.reason)
    assert scheduler.is_done


def test_trial_rests_before_its_retry_and_then_runs() -> None:
    scheduler = Scheduler(a_plan(1, 1))
    (grant,) = grants(scheduler.handle(WorkerJoined(W, 1), now_s=0))
    scheduler.handle(RunStarted(grant.trial_id, grant.attempt), now_s=0)
    scheduler.handle(WorkerLeft(W, True, "killed"), now_s=10)
    assert grants(scheduler.handle(WorkerJoined(WorkerId("w1"), 1), now_s=10.5)) == []
    (again,) = grants(scheduler.handle(TimePassed(), now_s=10 + FIRST_BACKOFF_S))
    assert again.attempt == 1


def test_rest_grows_with_losses_in_a_row_up_to_a_minute_and_a_new_point_ends_it() -> None:
    scheduler = Scheduler(a_plan(1, 1))
    now_s, rests = 0.0, []
    for loss in range(9):
        worker = WorkerId(f"w{loss}")
        scheduler.handle(WorkerJoined(worker, 1), now_s=now_s)
        attempt = scheduler.current_attempt(scheduler.leases_of(worker)[0])
        trial_id = scheduler.leases_of(worker)[0]
        scheduler.handle(RunStarted(trial_id, attempt), now_s=now_s)
        if loss == 8:
            scheduler.handle(PointLanded(trial_id, attempt, 1, {}), now_s=now_s)
        scheduler.handle(WorkerLeft(worker, False, "node lost"), now_s=now_s)
        scheduler.handle(WorkerJoined(WorkerId("probe"), 1), now_s=now_s)
        rest_s = 0.0
        while not scheduler.leases_of(WorkerId("probe")):
            rest_s += 0.5
            scheduler.handle(TimePassed(), now_s=now_s + rest_s)
        scheduler.handle(WorkerLeft(WorkerId("probe"), False, "gone"), now_s=now_s)
        rests.append(rest_s)
        now_s += 1000
    assert rests == [1, 2, 4, 8, 16, 32, 60, 60, 1]


def test_lost_node_never_counts_against_a_trial() -> None:
    scheduler = Scheduler(a_plan(1, 1))
    for death in range(20):
        worker, now_s = WorkerId(f"w{death}"), 100.0 * death
        (grant,) = grants(scheduler.handle(WorkerJoined(worker, 1), now_s=now_s))
        scheduler.handle(RunStarted(grant.trial_id, grant.attempt), now_s=now_s)
        scheduler.handle(WorkerLeft(worker, False, "node lost"), now_s=now_s)
    assert not scheduler.is_done


def test_deaths_with_a_new_point_between_them_do_not_add_up() -> None:
    scheduler = Scheduler(a_plan(1, 1))
    for death in range(EPOCHS - 1):
        worker, now_s = WorkerId(f"w{death}"), 100.0 * death
        (grant,) = grants(scheduler.handle(WorkerJoined(worker, 1), now_s=now_s))
        scheduler.handle(RunStarted(grant.trial_id, grant.attempt), now_s=now_s)
        scheduler.handle(PointLanded(grant.trial_id, grant.attempt, death + 1, {}), now_s=now_s)
        assert scheduler.handle(WorkerLeft(worker, True, "exit code -9"), now_s=now_s) == []
    assert not scheduler.is_done


def test_event_of_an_older_attempt_changes_nothing() -> None:
    scheduler = Scheduler(a_plan(1, 1))
    (old,) = grants(scheduler.handle(WorkerJoined(W, 1), now_s=0))
    scheduler.handle(WorkerLeft(W, False, "node lost"), now_s=0)
    (new,) = grants(scheduler.handle(WorkerJoined(WorkerId("w1"), 1), now_s=0))
    assert new.attempt == old.attempt + 1
    scheduler.handle(RunEnded(old.trial_id, old.attempt, Outcome.FAILED), now_s=0)
    assert not scheduler.is_done
    scheduler.handle(RunEnded(new.trial_id, new.attempt, Outcome.COMPLETED), now_s=0)
    assert scheduler.is_done


def test_drain_grants_nothing_more() -> None:
    scheduler = Scheduler(a_plan(1, 4))
    scheduler.handle(DrainRequested(), now_s=0)
    assert scheduler.handle(WorkerJoined(W, 2), now_s=0) == []


def test_drain_pauses_what_runs_and_what_is_leased_and_then_no_worker_holds_anything() -> None:
    scheduler = Scheduler(a_plan(1, 4))
    first, second = grants(scheduler.handle(WorkerJoined(W, 2), now_s=0))
    scheduler.handle(RunStarted(first.trial_id, 0), now_s=0)
    paused = scheduler.handle(DrainRequested(), now_s=0)
    assert paused == [PauseRun(first.trial_id, 0, W), PauseRun(second.trial_id, 0, W)]
    assert scheduler.counts()["running"] == 1
    scheduler.handle(RunPaused(second.trial_id, 0), now_s=0)
    scheduler.handle(PointLanded(first.trial_id, 0, 1, {}), now_s=0)
    assert scheduler.handle(RunPaused(first.trial_id, 0), now_s=0) == []
    assert scheduler.is_idle
    assert not scheduler.is_done


def test_worker_that_may_hold_more_is_given_more() -> None:
    scheduler = Scheduler(a_plan(1, 4))
    assert len(grants(scheduler.handle(WorkerJoined(W, 1), now_s=0))) == 1
    assert len(grants(scheduler.handle(CapacityChanged(W, 3), now_s=0))) == 2
    assert grants(scheduler.handle(CapacityChanged(W, 1), now_s=0)) == []


class PairRule(Fifo):
    """Trials stand by at epoch 1 until all have reached it; then the better half runs on."""

    def __init__(self) -> None:
        self.planned: list[TrialId] = []
        self.losses: dict[TrialId, float] = {}
        self.decided: list[tuple[TrialId, RunOn | EndHere]] = []

    def add(self, trial: Trial) -> None:
        self.planned.append(trial.trial_id)

    def milestone(self, trial: Trial, epochs: int) -> int:
        return 1 if epochs < 1 else trial.max_epochs

    def judge(self, trial: Trial, epoch: int, metrics: Mapping[str, float]) -> Judgement:
        self.losses[trial.trial_id] = metrics["eval_loss"]
        if len(self.losses) == len(self.planned):
            ranked = sorted(self.planned, key=lambda t: self.losses[t])
            half = len(ranked) // 2
            self.decided += [(t, RunOn(EPOCHS)) for t in ranked[:half]]
            self.decided += [(t, EndHere()) for t in ranked[half:]]
        return StandBy()

    def decisions(self) -> Sequence[tuple[TrialId, RunOn | EndHere]]:
        decided, self.decided = self.decided, []
        return decided


def test_trials_that_stand_by_free_their_worker_until_the_rule_decides() -> None:
    plan = a_plan(1, 2)
    scheduler = Scheduler(plan, rule=PairRule())
    (first,) = grants(scheduler.handle(WorkerJoined(W, 1), now_s=0))
    assert scheduler.handle(PointLanded(first.trial_id, 0, 1, {"eval_loss": 2.0}), now_s=0) == [
        PauseRun(first.trial_id, 0, W)
    ]
    (second,) = grants(scheduler.handle(RunPaused(first.trial_id, 0), now_s=0))
    assert scheduler.counts()["standing_by"] == 1
    scheduler.handle(PointLanded(second.trial_id, 0, 1, {"eval_loss": 1.0}), now_s=0)
    ended = scheduler.handle(RunPaused(second.trial_id, 0), now_s=0)
    assert ended == [Grant(first.trial_id, 1, W, EPOCHS), StopRun(first.trial_id, 1, W)]
    assert scheduler.handle(RunEnded(first.trial_id, 1, Outcome.STOPPED), now_s=0) == [
        Grant(second.trial_id, 1, W, EPOCHS)
    ]


def test_rule_is_brought_to_where_it_stood_by_the_points_on_record() -> None:
    plan = a_plan(1, 2)
    past = {trial.trial_id: Past(epochs=1, last_attempt=0) for trial in plan}
    history = [
        PointLanded(trial.trial_id, 0, 1, {"eval_loss": loss})
        for trial, loss in zip(plan, (2.0, 1.0), strict=True)
    ]
    scheduler = Scheduler(plan, past=past, history=history, rule=PairRule())
    instructions = scheduler.handle(WorkerJoined(W, 2), now_s=0)
    assert StopRun(plan[0].trial_id, 1, W) in instructions
    assert StopRun(plan[1].trial_id, 1, W) not in instructions


def test_trials_that_no_decision_can_reach_any_more_run_on() -> None:
    plan = a_plan(1, 1)
    scheduler = Scheduler([*plan, a_trial(0, 1)], rule=PairRule())
    first, other = grants(scheduler.handle(WorkerJoined(W, 2), now_s=0))
    scheduler.handle(PointLanded(first.trial_id, 0, 1, {"eval_loss": 2.0}), now_s=0)
    scheduler.handle(RunPaused(first.trial_id, 0), now_s=0)
    assert grants(scheduler.handle(RunEnded(other.trial_id, 0, Outcome.DIVERGED), now_s=0)) == [
        Grant(first.trial_id, 1, W, EPOCHS)
    ]


def test_trial_planned_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="stands twice in the plan"):
        Scheduler([a_trial(0, 0), a_trial(0, 0)])


class HalvingRule(Fifo):
    """Milestones at 1 and 2; stops a trial whose score is below one half."""

    def milestone(self, trial: Trial, epochs: int) -> int:
        return next((rung for rung in (1, 2) if rung > epochs), trial.max_epochs)

    def judge(self, trial: Trial, epoch: int, metrics: Mapping[str, float]) -> Judgement:
        return RunOn(self.milestone(trial, epoch)) if metrics["score"] >= 0.5 else EndHere()


def test_rule_is_asked_at_milestones_only() -> None:
    scheduler = Scheduler(a_plan(1, 1), rule=HalvingRule())
    (grant,) = grants(scheduler.handle(WorkerJoined(W, 1), now_s=0))
    assert grant.run_until_epoch == 1
    good = scheduler.handle(PointLanded(grant.trial_id, 0, 1, {"score": 0.9}), now_s=0)
    assert good == [ExtendRun(grant.trial_id, 0, W, 2)]
    bad = scheduler.handle(PointLanded(grant.trial_id, 0, 2, {"score": 0.1}), now_s=0)
    assert bad == [StopRun(grant.trial_id, 0, W)]
    assert scheduler.handle(PointLanded(grant.trial_id, 0, 3, {"score": 0.1}), now_s=0) == []


class SweepMachine(RuleBasedStateMachine):
    """Workers come, die and finish trials in any order; every trial ends once and no lease is held twice."""

    @initialize(tasks=st.integers(1, 3), configs=st.integers(1, 4))
    def begin(self, tasks: int, configs: int) -> None:
        self.plan = a_plan(tasks, configs)
        self.scheduler = Scheduler(self.plan)
        self.now_s = 0.0
        self.born = 0
        self.leases: dict[WorkerId, dict[TrialId, Grant]] = {}
        self.attempts: dict[TrialId, int] = {}
        self.ended: set[TrialId] = set()

    def tell(self, event: Event) -> None:
        for instruction in self.scheduler.handle(event, now_s=self.now_s):
            match instruction:
                case Grant():
                    assert instruction.trial_id not in self.ended
                    assert all(instruction.trial_id not in held for held in self.leases.values())
                    assert instruction.attempt == self.attempts.get(instruction.trial_id, -1) + 1
                    self.attempts[instruction.trial_id] = instruction.attempt
                    self.leases[instruction.worker_id][instruction.trial_id] = instruction
                case Conclude():
                    self.end(instruction.trial_id)
                case _:
                    raise AssertionError(f"unexpected {instruction}")

    def end(self, trial_id: TrialId) -> None:
        assert trial_id not in self.ended
        self.ended.add(trial_id)

    @rule(capacity=st.integers(1, 3))
    def worker_joins(self, capacity: int) -> None:
        worker = WorkerId(f"w{self.born}")
        self.born += 1
        self.leases[worker] = {}
        self.tell(WorkerJoined(worker, capacity))

    @precondition(lambda self: any(self.leases.values()))
    @rule(data=st.data(), started=st.booleans(), blame=st.booleans())
    def worker_dies(self, data: st.DataObject, started: bool, blame: bool) -> None:
        worker = data.draw(st.sampled_from(sorted(w for w, held in self.leases.items() if held)))
        held = self.leases.pop(worker)
        if started:
            first = next(iter(held.values()))
            self.tell(RunStarted(first.trial_id, first.attempt))
        self.tell(WorkerLeft(worker, blame, "killed"))

    @precondition(lambda self: any(self.leases.values()))
    @rule(data=st.data(), outcome=st.sampled_from(sorted(Outcome)))
    def trial_ends(self, data: st.DataObject, outcome: Outcome) -> None:
        worker = data.draw(st.sampled_from(sorted(w for w, held in self.leases.items() if held)))
        grant = data.draw(st.sampled_from(sorted(self.leases[worker].values(), key=lambda g: g.trial_id)))
        del self.leases[worker][grant.trial_id]
        if outcome.is_final:
            self.end(grant.trial_id)
        self.tell(RunEnded(grant.trial_id, grant.attempt, outcome))

    @precondition(lambda self: any(self.leases.values()))
    @rule(data=st.data())
    def trial_is_paused(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(sorted(w for w, held in self.leases.items() if held)))
        grant = data.draw(st.sampled_from(sorted(self.leases[worker].values(), key=lambda g: g.trial_id)))
        del self.leases[worker][grant.trial_id]
        self.tell(RunPaused(grant.trial_id, grant.attempt))

    @precondition(lambda self: bool(self.leases))
    @rule(data=st.data(), capacity=st.integers(1, 4))
    def capacity_changes(self, data: st.DataObject, capacity: int) -> None:
        self.tell(CapacityChanged(data.draw(st.sampled_from(sorted(self.leases))), capacity))

    @rule(seconds=st.floats(0, 120))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds
        self.tell(TimePassed())

    @invariant()
    def holds(self) -> None:
        self.scheduler.validate()
        assert self.scheduler.is_done == (len(self.ended) == len(self.plan))


TestSweepMachine = SweepMachine.TestCase
TestSweepMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
