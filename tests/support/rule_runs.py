"""Runs a stopping rule over a table of losses to the end, with so many slots and in a drawn order."""

import math
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from orchestrator.contracts import Outcome, TaskId, TrainingSettings, Trial, TrialId
from orchestrator.scheduling import EndHere, RunOn, StandBy, StoppingRule


def plan_of(*, trials: int, epochs: int, tasks: int = 1) -> list[Trial]:
    """Return distinct trials, task by turns."""
    return [
        Trial(
            task_id=TaskId(f"task{index % tasks}"),
            task_source=f"worlds:{index % tasks}",
            task_name=f"t{index % tasks}",
            config={"index": index},
            seed=0,
            base_model="tiny-phi3",
            base_fingerprint="f",
            space_version="v",
            settings=TrainingSettings(horizon_epochs=epochs),
            max_epochs=epochs,
        )
        for index in range(trials)
    ]


def curves(plan: Sequence[Trial], seed: int) -> dict[TrialId, list[float]]:
    """Return losses without ties, in no order from one epoch to the next."""
    draw = Random(seed)
    return {trial.trial_id: [draw.random() for _ in range(trial.max_epochs)] for trial in plan}


@dataclass
class RuleRun:
    """What has happened so far, and what is to come: losses and failures are fixed by trial and epoch."""

    plan: Sequence[Trial]
    losses: Mapping[TrialId, Sequence[float]]
    failing: Mapping[TrialId, int]
    """Trials that fail in the epoch after so many."""
    slots: int
    points: list[tuple[Trial, int]] = field(default_factory=list)
    """Curve points in the order in which they landed."""
    outcomes: dict[TrialId, Outcome] = field(default_factory=dict)

    @property
    def epochs(self) -> Counter[TrialId]:
        """Epochs on record, by trial."""
        return Counter(trial.trial_id for trial, _ in self.points)

    def result(self) -> dict[TrialId, tuple[int, Outcome]]:
        """Return where every trial ended."""
        epochs = self.epochs
        return {trial_id: (epochs[trial_id], outcome) for trial_id, outcome in self.outcomes.items()}

    def go(self, rule: StoppingRule, order: Random, *, most_points: int | None = None) -> None:
        """Run, or go on, until every trial has its outcome or so many points are on record."""
        for trial in self.plan:
            rule.add(trial)
        by_id = {trial.trial_id: trial for trial in self.plan}
        epochs = self.epochs
        standing = self._recall(rule)
        waiting = deque(t for t in self.plan if t.trial_id not in self.outcomes.keys() | standing)
        running: list[Trial] = []
        while len(self.outcomes) < len(self.plan) and len(self.points) != most_points:
            for trial_id, decision in rule.decisions():
                if trial_id in self.outcomes:
                    continue
                standing.discard(trial_id)
                if isinstance(decision, RunOn):
                    waiting.append(by_id[trial_id])
                else:
                    self._end(rule, by_id[trial_id], Outcome.STOPPED)
            while waiting and len(running) < self.slots:
                running.append(waiting.popleft())
            if not running:
                assert len(self.outcomes) == len(self.plan), f"{standing} stand by for ever"
                break
            trial = running.pop(order.randrange(len(running)))
            done = epochs[trial.trial_id]
            if self.failing.get(trial.trial_id) == done:
                self._end(rule, trial, Outcome.FAILED)
                continue
            epochs[trial.trial_id] = done + 1
            self.points.append((trial, done + 1))
            judgement = rule.judge(trial, done + 1, {"eval_loss": self.losses[trial.trial_id][done]})
            if done + 1 == trial.max_epochs:
                self._end(rule, trial, Outcome.COMPLETED)
            elif isinstance(judgement, RunOn):
                assert judgement.until_epoch == done + 2
                running.append(trial)
            elif isinstance(judgement, EndHere):
                self._end(rule, trial, Outcome.STOPPED)
            else:
                standing.add(trial.trial_id)

    def _recall(self, rule: StoppingRule) -> set[TrialId]:
        """Bring a new rule to where the last one stood, as a scheduler does; return who stands by."""
        epochs, outcomes = self.epochs, dict(self.outcomes)
        last = {}
        for trial, epoch in self.points:
            last[trial.trial_id] = rule.judge(
                trial, epoch, {"eval_loss": self.losses[trial.trial_id][epoch - 1]}
            )
            if epoch == epochs[trial.trial_id] and trial.trial_id in outcomes:
                rule.end(trial, outcomes.pop(trial.trial_id))
        for trial in self.plan:
            if trial.trial_id in outcomes:
                rule.end(trial, outcomes.pop(trial.trial_id))
        # What is decided of them since comes out of the rule's decisions.
        return {t for t, judgement in last.items() if isinstance(judgement, StandBy)} - self.outcomes.keys()

    def _end(self, rule: StoppingRule, trial: Trial, outcome: Outcome) -> None:
        self.outcomes[trial.trial_id] = outcome
        rule.end(trial, outcome)


def halved(
    plan: Sequence[Trial], found: RuleRun, *, eta: int, max_t: int
) -> dict[TrialId, tuple[int, Outcome]]:
    """Return how HyperBand ends, bracket after bracket: an independent account of successive halving."""
    ends: dict[TrialId, tuple[int, Outcome]] = {}
    rest = list(plan)
    most_halvings = round(math.log(max_t) / math.log(eta))
    s = 0
    while rest:
        rung = int(max_t * eta ** (-s))
        if rung:
            size = math.ceil((most_halvings + 1) / (s + 1) * eta**s)
            alive, rest = rest[:size], rest[size:]
            ends |= _halve_one(alive, found, eta=eta, size=size, rung=rung, halvings=s, max_t=max_t)
        s = (s + 1) % (most_halvings + 1)
    return ends


def _halve_one(
    alive: list[Trial], found: RuleRun, *, eta: int, size: int, rung: int, halvings: int, max_t: int
) -> dict[TrialId, tuple[int, Outcome]]:
    ends: dict[TrialId, tuple[int, Outcome]] = {}
    while alive:
        for trial in alive:
            if found.failing.get(trial.trial_id, rung) < rung:
                ends[trial.trial_id] = (found.failing[trial.trial_id], Outcome.FAILED)
            elif rung == trial.max_epochs:
                ends[trial.trial_id] = (rung, Outcome.COMPLETED)
        alive = [trial for trial in alive if trial.trial_id not in ends]
        size = math.ceil(size / eta)
        keep = size if halvings else 0
        alive.sort(key=lambda trial: found.losses[trial.trial_id][rung - 1])
        ends |= {trial.trial_id: (rung, Outcome.STOPPED) for trial in alive[keep:]}
        alive, rung, halvings = alive[:keep], min(rung * eta, max_t), halvings - 1
    return ends
