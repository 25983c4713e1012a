"""Ray Tune's schedulers as stopping rules of a sweep.

Tune's own objects decide; this feeds them as Tune's controller would, one object a task, since losses of
different tasks don't compare. A trial is judged at every epoch, as Tune judges every result. Its planned
fidelity is what ``stop`` is to Tune: there it completes, unasked.

What a scheduler pauses stands by: HyperBand's until its bracket is processed, median stopping's (too few
trials to compare with) until every other trial of its task has reported once, or reported again. Tune forgets
a bracket whose last missing trial fails after the first halving; here such a bracket is asked again
(``_TaskRule._wake``), so that nothing stands by for good.
"""

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from orchestrator.app.scheduler_entry import SchedulerEntry
from orchestrator.app.tune_trials import TrialStatus, TuneController, TuneTrial
from orchestrator.contracts import InputError, Outcome, TaskId, Trial, TrialId, digest
from orchestrator.scheduling import EndHere, Fifo, Judgement, RunOn, StandBy, StoppingRule

if TYPE_CHECKING:
    from ray.tune.schedulers import TrialScheduler

WORST = 1e30
"""Stands for a metric that is not finite: percentiles of infinities are not numbers."""
_MOST_HALVINGS = 64
"""More than any bracket has: one of whole epochs at least doubles its rung."""


def tune_rule(entry: SchedulerEntry) -> StoppingRule:
    """Build the rule that a spec's ``scheduler:`` entry names; imports Ray Tune unless it is ``fifo``.

    Args:
        entry: The checked entry.

    Returns:
        A new rule, which knows no trial.
    """
    if entry.name == "fifo":
        return Fifo()
    from ray.tune import schedulers  # about two seconds, for those who ask for it

    # Tells as news that a result came twice, which is how a forgotten bracket is asked again.
    logging.getLogger("ray.tune.schedulers.hyperband").setLevel(logging.WARNING)
    classes: Mapping[str, type[TrialScheduler]] = {
        "asha": schedulers.AsyncHyperBandScheduler,
        "median_stopping_rule": schedulers.MedianStoppingRule,
        "hyperband": schedulers.HyperBandScheduler,
    }
    return TuneRule(entry, classes[entry.name])


class TuneRule:
    """One of Tune's schedulers for each task of a sweep.

    Args:
        entry: Which, and with what options.
        scheduler_class: Tune's class of that name.
    """

    def __init__(self, entry: SchedulerEntry, scheduler_class: "type[TrialScheduler]") -> None:
        self._entry = entry
        self._scheduler_class = scheduler_class
        self._tasks: dict[TaskId, _TaskRule] = {}
        self._decided: dict[TrialId, RunOn | EndHere] = {}

    def add(self, trial: Trial) -> None:
        """Take note of a planned trial; refuse options that don't fit its fidelity."""
        if trial.task_id not in self._tasks:
            try:
                arguments = self._entry.tune_arguments(trial.max_epochs)
            except ValueError as err:
                raise InputError(f"`scheduler`: {err}") from err
            self._tasks[trial.task_id] = _TaskRule(
                self._scheduler_class(**arguments),
                self._entry,
                self._decided.__setitem__,
            )
        self._tasks[trial.task_id].add(trial)

    def milestone(self, trial: Trial, epochs: int) -> int:
        """Return the next epoch: Tune judges every result."""
        return epochs + 1

    def judge(self, trial: Trial, epoch: int, metrics: Mapping[str, float]) -> Judgement:
        """Judge a trial; one that has ended, or an epoch that was judged, is not judged again."""
        judgement = self._tasks[trial.task_id].judge(trial, epoch, metrics[self._entry.metric])
        # A decision of before, not yet fetched, must not come after this answer.
        self._decided.pop(trial.trial_id, None)
        return judgement

    def end(self, trial: Trial, outcome: Outcome) -> None:
        """Take note that a trial has its outcome."""
        self._tasks[trial.task_id].end(trial, outcome)
        self._decided.pop(trial.trial_id, None)

    def decisions(self) -> Sequence[tuple[TrialId, RunOn | EndHere]]:
        """Return, once, what has been decided of trials that stand by."""
        decided = tuple(self._decided.items())
        self._decided.clear()
        return decided


class _TaskRule:
    """One of Tune's schedulers at work on one task.

    Args:
        scheduler: A new one.
        entry: What it was built from.
        tell: Takes what has been decided of a trial that stands by.
    """

    def __init__(
        self,
        scheduler: "TrialScheduler",
        entry: SchedulerEntry,
        tell: Callable[[TrialId, RunOn | EndHere], None],
    ) -> None:
        self._scheduler = scheduler
        self._entry = entry
        self._tell = tell
        self._has_brackets = entry.name == "hyperband"
        # A trial that is granted looks to a rule like one that waits. Median stopping yields to those that
        # wait; HyperBand asks only which are paused.
        self._unheard = TrialStatus.RUNNING if self._has_brackets else TrialStatus.PENDING
        self._controller = TuneController(scheduler, self._decide)
        self._decided: dict[TrialId, TuneTrial] = {}
        self._has_lost_a_trial = False

    def add(self, trial: Trial) -> None:
        shim = TuneTrial(trial, self._unheard)
        self._controller.add(shim)
        with _numpy_stream(digest(["bracket", trial.trial_id])):
            self._scheduler.on_trial_add(self._controller, shim)  # type: ignore[arg-type]

    def judge(self, trial: Trial, epoch: int, value: float) -> Judgement:
        shim = self._controller.trials[trial.trial_id]
        if shim.is_live and epoch > shim.newest_epoch:
            shim.told = None
            shim.backlog.append((epoch, value))
            self._hear(shim)
            self._settle()
        shim.told = shim.decision
        return shim.decision

    def end(self, trial: Trial, outcome: Outcome) -> None:
        shim = self._controller.trials[trial.trial_id]
        if not shim.is_live:
            return
        shim.told = None
        if outcome in (Outcome.COMPLETED, Outcome.STOPPED):
            self._controller.stop_trial(shim)
        else:
            self._controller.fail_trial(shim)
            self._decide(shim, EndHere())
        self._has_lost_a_trial = True
        self._settle()

    def _hear(self, shim: TuneTrial) -> None:
        """Have a trial judged at what it has reported, as far as it may go on."""
        while shim.backlog and shim.is_live and shim.status is not TrialStatus.PAUSED:
            shim.epochs, value = shim.backlog.popleft()
            shim.last_result = {"training_iteration": shim.epochs, self._entry.metric: self._ranked(value)}
            self._controller.set_status(shim, TrialStatus.RUNNING)
            if shim.epochs < shim.trial.max_epochs:
                self._consult(shim)
                continue
            self._controller.stop_trial(shim)
            self._decide(shim, RunOn(shim.trial.max_epochs))

    def _ranked(self, value: float) -> float:
        """Return the metric, or what ranks below every other."""
        if math.isfinite(value):
            return value
        return WORST if self._entry.mode == "min" else -WORST

    def _consult(self, shim: TuneTrial) -> None:
        """Let Tune decide on a running trial's last result, and do with the trial what it says."""
        match self._scheduler.on_trial_result(self._controller, shim, shim.last_result):  # type: ignore[arg-type]
            case "STOP":
                self._controller.stop_trial(shim)
            case "PAUSE":
                self._controller.set_status(shim, TrialStatus.PAUSED)
                self._decide(shim, StandBy())
            case _:
                self._decide(shim, RunOn(shim.epochs + 1))

    def _decide(self, shim: TuneTrial, decision: Judgement) -> None:
        shim.decision = decision
        self._decided[shim.trial.trial_id] = shim

    def _settle(self) -> None:
        """Let go on what may go on of the trials that stand by, and tell what became of them."""
        for _ in range(_MOST_HALVINGS):
            self._release_chosen()
            if not self._has_brackets or not (self._has_lost_a_trial or self._controller.has_only_paused):
                break
            self._has_lost_a_trial = False
            self._wake()
        for trial_id, shim in self._decided.items():
            if isinstance(shim.told, StandBy) and not isinstance(shim.decision, StandBy):
                shim.told = shim.decision
                self._tell(trial_id, shim.decision)
        self._decided.clear()

    def _release_chosen(self) -> None:
        """Release the trials standing by that Tune would run now; it names one at a time."""
        while chosen := self._chosen():
            for shim in chosen:
                self._controller.set_status(shim, self._unheard)
                self._decide(shim, RunOn(shim.epochs + 1))
            for shim in chosen:
                self._hear(shim)

    def _chosen(self) -> list[TuneTrial]:
        chosen: list[TuneTrial] = []
        while self._controller.paused:
            shim: TuneTrial | None = self._scheduler.choose_trial_to_run(self._controller)  # type: ignore[arg-type,assignment]
            if shim is None or shim.status is not TrialStatus.PAUSED:
                break
            self._controller.set_status(shim, TrialStatus.RUNNING)
            chosen.append(shim)
        return chosen

    def _wake(self) -> None:
        """Ask again about brackets that all their live trials may wait for.

        A trial standing by that gives its last result once more has its bracket processed if that is due, and
        changes nothing otherwise.
        """
        for shim in self._controller.paused:
            if shim.status is TrialStatus.PAUSED:
                self._controller.set_status(shim, TrialStatus.RUNNING)
                self._consult(shim)
                self._hear(shim)


@contextmanager
def _numpy_stream(seed: str) -> Iterator[None]:
    """Have draws from numpy's global stream follow from a seed, and put the stream back as it was."""
    state = np.random.get_state()
    np.random.seed(int(seed[:8], 16))
    try:
        yield
    finally:
        np.random.set_state(state)
