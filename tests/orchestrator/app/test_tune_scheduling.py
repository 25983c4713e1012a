"""Tune's rules at work in the scheduler: leases, pauses and decisions, to the end of a plan."""

from collections import deque
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.app.scheduler_entry import SchedulerEntry
from orchestrator.app.tune_rules import tune_rule
from orchestrator.contracts import Outcome, Trial, TrialId, WorkerId
from orchestrator.scheduling import (
    Event,
    ExtendRun,
    Grant,
    Instruction,
    PauseRun,
    PointLanded,
    RunEnded,
    RunPaused,
    RunStarted,
    Scheduler,
    StopRun,
    TimePassed,
    WorkerJoined,
)
from tests.support.rule_runs import RuleRun, curves, halved, plan_of


class Workers:
    """Workers that do what the scheduler says, one event at a time, in a drawn order."""

    def __init__(self, found: RuleRun, scheduler: Scheduler, order: Random) -> None:
        self.found, self.scheduler, self.order = found, scheduler, order
        self.trials = {trial.trial_id: trial for trial in found.plan}
        self.epochs = dict.fromkeys(self.trials, 0)
        self.until: dict[TrialId, int] = {}
        """Trials in hand, and how far they may train."""
        self.attempts = dict.fromkeys(self.trials, -1)
        self.events: deque[Event] = deque(WorkerJoined(WorkerId(f"w{i}"), 1) for i in range(found.slots))

    def run(self) -> None:
        now_s = 0.0
        while not self.scheduler.is_done:
            now_s += 1.0
            event = self.events.popleft() if self.events else self.train()
            instructions = self.scheduler.handle(event, now_s=now_s)
            self.scheduler.validate()
            for instruction in instructions:
                self.obey(instruction)

    def train(self) -> Event:
        """Train one epoch of one of the trials that may train on."""
        able = [trial_id for trial_id, until in self.until.items() if self.epochs[trial_id] < until]
        assert able or self.until, "no trial in hand, and the scheduler grants none"
        if not able:
            return TimePassed()
        trial_id = self.order.choice(able)
        done = self.epochs[trial_id]
        if self.found.failing.get(trial_id) == done:
            return self.finish(trial_id, Outcome.FAILED)
        self.epochs[trial_id] = done + 1
        self.found.points.append((self.trials[trial_id], done + 1))
        if done + 1 == self.trials[trial_id].max_epochs:
            self.events.append(self.finish(trial_id, Outcome.COMPLETED))
        losses = {"eval_loss": self.found.losses[trial_id][done]}
        return PointLanded(trial_id, self.attempts[trial_id], done + 1, losses)

    def finish(self, trial_id: TrialId, outcome: Outcome) -> RunEnded:
        del self.until[trial_id]
        self.found.outcomes[trial_id] = outcome
        return RunEnded(trial_id, self.attempts[trial_id], outcome)

    def obey(self, instruction: Instruction) -> None:
        match instruction:
            case Grant(trial_id, attempt, _, until):
                self.attempts[trial_id], self.until[trial_id] = attempt, until
                self.events.append(RunStarted(trial_id, attempt))
            case ExtendRun(trial_id, _, _, until):
                self.until[trial_id] = until
            case StopRun(trial_id, _, _):
                self.events.append(self.finish(trial_id, Outcome.STOPPED))
            case PauseRun(trial_id, attempt, _):
                del self.until[trial_id]
                self.events.append(RunPaused(trial_id, attempt))
            case _:
                raise AssertionError(instruction)


def scheduled(name: str, plan: list[Trial], seed: int, slots: int, failing: dict[TrialId, int]) -> RuleRun:
    found = RuleRun(plan, curves(plan, seed), failing, slots)
    rule = tune_rule(SchedulerEntry.model_validate({"name": name}))
    Workers(found, Scheduler(plan, rule=rule), Random(seed)).run()
    assert set(found.outcomes) == {trial.trial_id for trial in plan}
    return found


@settings(max_examples=50, deadline=None)
@given(
    trials=st.integers(1, 30), epochs=st.integers(2, 27), seed=st.integers(0, 2**32), slots=st.integers(1, 6)
)
def test_hyperband_under_the_scheduler_is_successive_halving(
    trials: int, epochs: int, seed: int, slots: int
) -> None:
    plan = plan_of(trials=trials, epochs=epochs)
    failing = {trial.trial_id: index % epochs for index, trial in enumerate(plan) if index % 7 == 3}
    found = scheduled("hyperband", plan, seed, slots, failing)
    assert found.result() == halved(plan, found, eta=3, max_t=epochs)


@pytest.mark.parametrize("name", ["asha", "median_stopping_rule", "hyperband"])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), slots=st.integers(1, 6), tasks=st.integers(1, 3))
def test_every_trial_of_every_task_ends_under_the_scheduler(
    name: str, seed: int, slots: int, tasks: int
) -> None:
    plan = plan_of(trials=30, epochs=9, tasks=tasks)
    found = scheduled(name, plan, seed, slots, {plan[4].trial_id: 0, plan[9].trial_id: 3})
    assert Outcome.COMPLETED in found.outcomes.values()
    assert Outcome.STOPPED in found.outcomes.values()
    assert len(found.points) < 30 * 9
