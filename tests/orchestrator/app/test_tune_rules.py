import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.app.scheduler_entry import SchedulerEntry
from orchestrator.app.tune_rules import tune_rule
from orchestrator.app.tune_trials import TrialStatus
from orchestrator.contracts import InputError, Outcome, TaskId, Trial, TrialId
from orchestrator.scheduling import EndHere, Fifo, Judgement, RunOn, StandBy, StoppingRule
from tests.support.rule_runs import RuleRun, curves, halved, plan_of


def entry(name: str, **options: Any) -> SchedulerEntry:
    return SchedulerEntry.model_validate({"name": name, **options})


@dataclass(eq=False)
class OracleTrial:
    """What schedulers touch of Tune's trial."""

    trial_id: str
    status: str
    is_saving: bool = False
    last_result: dict[str, Any] = field(default_factory=dict)


class TuneItself:
    """Tune's own scheduler with what its controller does, written down once more: the oracle."""

    def __init__(self, scheduler: Any, plan: Sequence[Trial], *, unheard: str = "PENDING") -> None:
        self.scheduler = scheduler
        self.trials = {trial.trial_id: OracleTrial(trial.trial_id, unheard) for trial in plan}
        for shim in self.trials.values():
            scheduler.on_trial_add(self, shim)

    def get_trials(self) -> list[Any]:
        return list(self.trials.values())

    def get_live_trials(self) -> set[Any]:
        return {shim for shim in self.trials.values() if shim.status not in ("TERMINATED", "ERROR")}

    def stop_trial(self, shim: Any) -> None:
        if shim.status in ("TERMINATED", "ERROR"):
            return
        if shim.status == "RUNNING":
            self.scheduler.on_trial_complete(self, shim, shim.last_result)
        else:
            self.scheduler.on_trial_remove(self, shim)
        shim.status = "TERMINATED"

    def result(self, trial: Trial, epoch: int, loss: float) -> str:
        shim = self.trials[trial.trial_id]
        shim.status = "RUNNING"
        result = {"training_iteration": epoch, "eval_loss": loss}
        decision = "STOP"
        if epoch < trial.max_epochs:  # else the stop criterion decides, and the scheduler is not asked
            decision = self.scheduler.on_trial_result(self, shim, result)
        shim.last_result = result
        if decision == "STOP":
            self.stop_trial(shim)
        elif decision == "PAUSE":
            shim.status = "PAUSED"
        return decision

    def release(self, status: str) -> set[str]:
        """Return the paused trials that Tune would run, had it slots for all, and move them to a status."""
        paused = {shim for shim in self.trials.values() if shim.status == "PAUSED"}
        chosen = []
        while (shim := self.scheduler.choose_trial_to_run(self)) in paused and shim.status == "PAUSED":
            shim.status = "RUNNING"
            chosen.append(shim)
        for shim in chosen:
            shim.status = status
        return {shim.trial_id for shim in chosen}


class BesideTune:
    """A rule that has the oracle decide the same, and compares every answer."""

    def __init__(self, rule: StoppingRule, oracle: TuneItself, *, released_as: str) -> None:
        self.rule, self.oracle, self.released_as = rule, oracle, released_as
        self.add, self.milestone, self.end = rule.add, rule.milestone, rule.end
        self.expected: dict[str, Judgement] = {}
        """What should come out of ``decisions``."""
        self.epochs: dict[str, int] = {}

    def judge(self, trial: Trial, epoch: int, metrics: Mapping[str, float]) -> Judgement:
        self.epochs[trial.trial_id] = epoch
        paused = {t for t, shim in self.oracle.trials.items() if shim.status == "PAUSED"}
        answer = self.oracle.result(trial, epoch, metrics["eval_loss"])
        for trial_id in paused:
            if self.oracle.trials[trial_id].status == "TERMINATED":
                self.expected[trial_id] = EndHere()
        released = self.oracle.release(self.released_as)
        self.expected |= {t: RunOn(self.epochs[t] + 1) for t in released - {trial.trial_id}}
        if epoch == trial.max_epochs:
            tunes: Judgement = RunOn(epoch)
        elif answer == "CONTINUE" or trial.trial_id in released:
            tunes = RunOn(epoch + 1)
        else:
            tunes = EndHere() if answer == "STOP" else StandBy()
        ours = self.rule.judge(trial, epoch, metrics)
        assert ours == tunes
        return ours

    def decisions(self) -> Sequence[tuple[TrialId, RunOn | EndHere]]:
        decided = self.rule.decisions()
        assert dict(decided) == self.expected
        self.expected = {}
        return decided


def run(rule: StoppingRule, plan: Sequence[Trial], seed: int, slots: int) -> RuleRun:
    found = RuleRun(plan, curves(plan, seed), {}, slots)
    found.go(rule, Random(seed + 1))
    return found


def test_stand_ins_speak_as_tune_does() -> None:
    from ray.tune.experiment import Trial as RealTrial

    assert {s.name: s.value for s in TrialStatus} == {s.name: getattr(RealTrial, s.name) for s in TrialStatus}


def test_fifo_is_our_own() -> None:
    assert isinstance(tune_rule(entry("fifo")), Fifo)


@settings(max_examples=60, deadline=None)
@given(
    trials=st.integers(1, 30),
    epochs=st.integers(1, 12),
    seed=st.integers(0, 2**32),
    slots=st.integers(1, 8),
    grace_period=st.integers(1, 3),
    reduction_factor=st.sampled_from([1.5, 2, 3, 4]),
    stop_last_trials=st.booleans(),
)
def test_asha_decides_as_tune_does(
    trials: int,
    epochs: int,
    seed: int,
    slots: int,
    grace_period: int,
    reduction_factor: float,
    stop_last_trials: bool,
) -> None:
    from ray.tune.schedulers import AsyncHyperBandScheduler

    options: dict[str, Any] = {
        "grace_period": min(grace_period, epochs),
        "reduction_factor": reduction_factor,
        "stop_last_trials": stop_last_trials,
    }
    plan = plan_of(trials=trials, epochs=epochs)
    tune = AsyncHyperBandScheduler(metric="eval_loss", mode="min", max_t=epochs, **options)
    rule = BesideTune(tune_rule(entry("asha", **options)), TuneItself(tune, plan), released_as="PENDING")
    assert len(run(rule, plan, seed, slots).outcomes) == trials


@settings(max_examples=60, deadline=None)
@given(
    trials=st.integers(1, 20),
    epochs=st.integers(1, 8),
    seed=st.integers(0, 2**32),
    slots=st.integers(1, 8),
    min_samples_required=st.integers(1, 4),
    min_time_slice=st.integers(0, 2),
    hard_stop=st.booleans(),
)
def test_median_stopping_decides_as_tune_does(
    trials: int,
    epochs: int,
    seed: int,
    slots: int,
    min_samples_required: int,
    min_time_slice: int,
    hard_stop: bool,
) -> None:
    from ray.tune.schedulers import MedianStoppingRule

    options: dict[str, Any] = {
        "min_samples_required": min_samples_required,
        "min_time_slice": min_time_slice,
        "hard_stop": hard_stop,
        "grace_period": 1,
    }
    plan = plan_of(trials=trials, epochs=epochs)
    tune = MedianStoppingRule(time_attr="training_iteration", metric="eval_loss", mode="min", **options)
    rule = BesideTune(
        tune_rule(entry("median_stopping_rule", **options)), TuneItself(tune, plan), released_as="PENDING"
    )
    assert len(run(rule, plan, seed, slots).outcomes) == trials


@settings(max_examples=60, deadline=None)
@given(
    trials=st.integers(1, 40),
    epochs=st.integers(1, 20),
    seed=st.integers(0, 2**32),
    slots=st.integers(1, 8),
    reduction_factor=st.sampled_from([2, 3, 4]),
)
def test_hyperband_decides_as_tune_does_while_it_forgets_no_bracket(
    trials: int, epochs: int, seed: int, slots: int, reduction_factor: int
) -> None:
    from ray.tune.schedulers import HyperBandScheduler

    plan = plan_of(trials=trials, epochs=epochs)
    # Trials end at their rungs, before the sweep's last epoch: none that completes leaves a bracket early.
    max_t = max(1, epochs - 1)
    tune = HyperBandScheduler(
        time_attr="training_iteration",
        metric="eval_loss",
        mode="min",
        max_t=max_t,
        reduction_factor=reduction_factor,
    )
    made = entry("hyperband", reduction_factor=reduction_factor, max_t=max_t)
    rule = BesideTune(tune_rule(made), TuneItself(tune, plan, unheard="RUNNING"), released_as="RUNNING")
    assert len(run(rule, plan, seed, slots).outcomes) == trials


@st.composite
def hyperband_runs(draw: st.DrawFn) -> tuple[RuleRun, int, int]:
    epochs = draw(st.integers(2, 27))
    plan = plan_of(trials=draw(st.integers(1, 45)), epochs=epochs)
    failing = draw(
        st.dictionaries(st.sampled_from([t.trial_id for t in plan]), st.integers(0, epochs - 1), max_size=12)
    )
    seed = draw(st.integers(0, 2**32))
    found = RuleRun(plan, curves(plan, seed), failing, draw(st.integers(1, 8)))
    return found, draw(st.sampled_from([2, 3, 4])), seed


@settings(max_examples=150, deadline=None)
@given(hyperband_runs())
def test_hyperband_ends_every_trial_where_successive_halving_does(drawn: tuple[RuleRun, int, int]) -> None:
    found, eta, seed = drawn
    found.go(tune_rule(entry("hyperband", reduction_factor=eta)), Random(seed))
    assert found.result() == halved(found.plan, found, eta=eta, max_t=found.plan[0].max_epochs)


def test_a_full_hyperband_keeps_so_many_at_each_rung() -> None:
    plan = plan_of(trials=17, epochs=9)
    found = run(tune_rule(entry("hyperband", reduction_factor=3)), plan, 3, 2)
    brackets = [plan[:3], plan[3:8], plan[8:]]
    epochs = found.epochs
    reached = [
        [sum(epochs[t.trial_id] >= rung for t in bracket) for rung in (1, 3, 9)] for bracket in brackets
    ]
    assert reached == [[3, 3, 3], [5, 5, 2], [9, 3, 1]]


@settings(max_examples=80, deadline=None)
@given(
    name=st.sampled_from(["asha", "median_stopping_rule", "hyperband"]),
    trials=st.integers(1, 25),
    cut=st.floats(0, 1),
    seed=st.integers(0, 2**32),
    slots=st.integers(1, 5),
)
def test_a_new_rule_told_the_points_on_record_decides_as_the_old_one(
    name: str, trials: int, cut: float, seed: int, slots: int
) -> None:
    plan = plan_of(trials=trials, epochs=9)
    whole = run(tune_rule(entry(name)), plan, seed, slots)
    told: list[dict[TrialId, Judgement]] = []
    for _ in range(2):
        rule = tune_rule(entry(name))
        for trial in plan:
            rule.add(trial)
        answers: dict[TrialId, Judgement] = {}
        for trial, epoch in whole.points[: int(cut * len(whole.points))]:
            metrics = {"eval_loss": whole.losses[trial.trial_id][epoch - 1]}
            answers[trial.trial_id] = rule.judge(trial, epoch, metrics)
            if told:
                assert rule.judge(trial, epoch, metrics) == answers[trial.trial_id]
            answers |= dict(rule.decisions())
        told.append(answers)
    assert told[0] == told[1]
    assert all(
        whole.outcomes[trial_id] is Outcome.STOPPED and whole.epochs[trial_id] > 0
        for trial_id, answer in told[0].items()
        if isinstance(answer, EndHere)
    )


@settings(max_examples=60, deadline=None)
@given(drawn=hyperband_runs(), cut=st.floats(0, 1))
def test_hyperband_cut_and_continued_ends_as_if_uncut(drawn: tuple[RuleRun, int, int], cut: float) -> None:
    found, eta, seed = drawn
    most = int(cut * len(found.plan) * found.plan[0].max_epochs)
    found.go(tune_rule(entry("hyperband", reduction_factor=eta)), Random(seed), most_points=most)
    found.go(tune_rule(entry("hyperband", reduction_factor=eta)), Random(seed + 1))
    assert found.result() == halved(found.plan, found, eta=eta, max_t=found.plan[0].max_epochs)


@pytest.mark.parametrize("name", ["asha", "median_stopping_rule", "hyperband"])
@settings(max_examples=25, deadline=None)
@given(
    first=st.sampled_from(["fifo", "asha", "median_stopping_rule", "hyperband"]), seed=st.integers(0, 2**32)
)
def test_a_sweep_begun_under_another_rule_comes_to_its_end(name: str, first: str, seed: int) -> None:
    plan = plan_of(trials=20, epochs=6)
    found = RuleRun(plan, curves(plan, seed), {plan[3].trial_id: 0, plan[7].trial_id: 2}, 3)
    rule = PerEpoch(first)
    found.go(rule, Random(seed), most_points=seed % 80)
    found.go(tune_rule(entry(name)), Random(seed + 1))
    assert len(found.outcomes) == len(plan)


def PerEpoch(name: str) -> StoppingRule:  # noqa: N802
    """Return a rule that lets trials run from epoch to epoch under a name."""

    class Stepwise(Fifo):
        def judge(self, trial: Trial, epoch: int, metrics: Any) -> Judgement:
            return RunOn(epoch + 1)

    return Stepwise() if name == "fifo" else tune_rule(entry(name))


def test_hyperband_lets_go_of_a_bracket_whose_last_missing_trial_fails_after_a_halving() -> None:
    plan = plan_of(trials=8, epochs=9)
    rule = tune_rule(entry("hyperband", reduction_factor=3))
    for trial in plan:
        rule.add(trial)
    bracket = plan[3:8]  # of five, two go on from epoch 3
    for trial in bracket:
        for epoch in (1, 2, 3):
            rule.judge(trial, epoch, {"eval_loss": float(trial.config["index"] or 0)})
    decided = dict(rule.decisions())
    assert [decided.get(t.trial_id) for t in bracket[:3]] == [RunOn(4), RunOn(4), EndHere()]


def test_waiting_trials_are_released_when_the_last_missing_one_fails_at_the_second_rung() -> None:
    plan = plan_of(trials=17, epochs=10)  # rungs of the last bracket: 1, 3 and 9
    rule = tune_rule(entry("hyperband", reduction_factor=3))
    for trial in plan:
        rule.add(trial)
    bracket = plan[8:]
    for trial in bracket:
        rule.judge(trial, 1, {"eval_loss": float(trial.config["index"] or 0)})
    rule.decisions()
    for trial in bracket[:2]:
        for epoch in (2, 3):
            rule.judge(trial, epoch, {"eval_loss": float(trial.config["index"] or 0)})
    assert not rule.decisions()
    rule.end(bracket[2], Outcome.FAILED)
    assert dict(rule.decisions()) == {bracket[0].trial_id: RunOn(4), bracket[1].trial_id: EndHere()}


def test_points_of_a_former_rule_are_judged_when_their_trial_may_go_on() -> None:
    plan = plan_of(trials=17, epochs=9)
    rule = tune_rule(entry("hyperband", reduction_factor=3))
    for trial in plan:
        rule.add(trial)
    ahead, bracket = plan[8], plan[9:]
    # Good at epoch 1, it ran on and became the worst: what counts at the rung of epoch 1 is epoch 1.
    assert rule.judge(ahead, 1, {"eval_loss": 0.0}) == StandBy()
    assert [rule.judge(ahead, epoch, {"eval_loss": 100.0 + epoch}) for epoch in (2, 3, 4)] == [StandBy()] * 3
    judged = [rule.judge(trial, 1, {"eval_loss": 1.0 + index}) for index, trial in enumerate(bracket)]
    assert [j for j in judged if isinstance(j, EndHere)] == [EndHere()]
    decided = dict(rule.decisions())
    assert [trial for trial in bracket if decided.get(trial.trial_id) == RunOn(2)] == bracket[:2]
    assert ahead.trial_id not in decided
    # At the rung of epoch 3 its record there, and not what came after, is the worst of three.
    for trial in bracket[:2]:
        rule.judge(trial, 2, {"eval_loss": 200.0})
        rule.judge(trial, 3, {"eval_loss": 103.5 if trial is bracket[0] else 50.0})
    assert dict(rule.decisions())[ahead.trial_id] == EndHere()


def test_median_stopping_yields_until_the_others_have_reported() -> None:
    plan = plan_of(trials=5, epochs=4)
    rule = tune_rule(entry("median_stopping_rule", min_samples_required=3))
    for trial in plan:
        rule.add(trial)
    assert [rule.judge(t, 1, {"eval_loss": 1.0}) for t in plan[:3]] == [StandBy()] * 3
    assert rule.judge(plan[3], 1, {"eval_loss": 1.0}) == RunOn(2)
    assert not rule.decisions()
    rule.end(plan[4], Outcome.OUT_OF_MEMORY)
    assert rule.decisions() == tuple((t.trial_id, RunOn(2)) for t in plan[:3])
    assert not rule.decisions()


def test_tasks_are_judged_apart() -> None:
    plan = plan_of(trials=12, epochs=4, tasks=2)
    rule = tune_rule(entry("asha", reduction_factor=2))
    for trial in plan:
        rule.add(trial)
    for index, trial in enumerate(plan):
        is_hard = trial.task_id == TaskId("task1")
        # Each task's losses fall from trial to trial, and all of one are above all of the other.
        assert rule.judge(trial, 1, {"eval_loss": 100.0 * is_hard + 50 - index}) == RunOn(2)


def test_brackets_follow_from_the_trial_and_leave_numpys_stream_alone() -> None:
    plan = plan_of(trials=30, epochs=9)
    made = entry("asha", brackets=3, reduction_factor=3)
    answers = []
    for seed in (1, 2):
        np.random.seed(seed)
        rule = tune_rule(made)
        for trial in plan if seed == 1 else reversed(plan):
            rule.add(trial)
        assert np.random.random() == np.random.RandomState(seed).random()
        answers.append(
            [rule.judge(t, 1, {"eval_loss": t.seed + float(t.config["index"] or 0)}) for t in plan]
        )
    assert answers[0] == answers[1]
    assert EndHere() in answers[0]
    assert answers[0].count(EndHere()) < sum(isinstance(a, EndHere) for a in one_bracket(plan))


def one_bracket(plan: Sequence[Trial]) -> list[Judgement]:
    rule = tune_rule(entry("asha", reduction_factor=3))
    for trial in plan:
        rule.add(trial)
    return [rule.judge(t, 1, {"eval_loss": float(t.config["index"] or 0)}) for t in plan]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("metric", ["eval_loss", "eval_token_f1"])
def test_what_is_not_finite_ranks_last(value: float, metric: str) -> None:
    plan = plan_of(trials=4, epochs=4)
    rule = tune_rule(entry("asha", metric=metric, reduction_factor=2))
    for trial in plan:
        rule.add(trial)
    assert rule.judge(plan[0], 1, {metric: value}) == RunOn(2)
    assert rule.judge(plan[1], 1, {metric: 0.5}) == RunOn(2)
    assert rule.judge(plan[2], 1, {metric: value}) == EndHere()
    assert rule.judge(plan[2], 2, {metric: 0.5}) == EndHere()
    assert rule.judge(plan[3], 1, {metric: 0.5}) == RunOn(2)


def test_options_that_do_not_fit_the_plan_are_refused() -> None:
    rule = tune_rule(entry("asha", grace_period=5))
    with pytest.raises(InputError, match="`scheduler`: grace_period must be at most the 4 epochs"):
        rule.add(plan_of(trials=1, epochs=4)[0])
