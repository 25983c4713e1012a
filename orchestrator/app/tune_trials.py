"""What Ray Tune's schedulers see of a sweep: stand-ins for Tune's trials and for its controller.

They have what the schedulers that stop and pause trials touch, and mean by it what Tune means.
"""

import enum
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator.contracts import Trial
from orchestrator.scheduling import EndHere, Judgement, RunOn

if TYPE_CHECKING:
    from ray.tune.schedulers import TrialScheduler


class TrialStatus(enum.StrEnum):
    """Where a trial stands with Tune; the texts are Tune's."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    TERMINATED = "TERMINATED"
    ERROR = "ERROR"


@dataclass(slots=True, eq=False)
class TuneTrial:
    """One trial as a Tune scheduler sees it, and what was decided of it."""

    trial: Trial
    status: TrialStatus
    last_result: dict[str, Any] = field(default_factory=dict)
    epochs: int = 0
    """Epochs it has been judged at."""
    decision: Judgement = field(default_factory=lambda: RunOn(1))
    """What holds now."""
    told: Judgement | None = None
    """What whoever asks was told last."""
    backlog: deque[tuple[int, float]] = field(default_factory=deque)
    """Epochs and values that came while it was paused (they were on record), to be judged when it goes on."""
    is_saving: bool = False
    """Never: a trial here is checkpointed before it is judged."""

    @property
    def trial_id(self) -> str:
        """The trial's id; schedulers tell trials apart by it."""
        return self.trial.trial_id

    @property
    def is_live(self) -> bool:
        """Whether it may train on."""
        return self.status not in (TrialStatus.TERMINATED, TrialStatus.ERROR)

    @property
    def newest_epoch(self) -> int:
        """The last epoch heard of, judged or not."""
        return self.backlog[-1][0] if self.backlog else self.epochs

    def __repr__(self) -> str:
        return f"{self.trial_id} ({self.status})"


class TuneController:
    """The part of Tune's controller that schedulers call.

    Args:
        scheduler: The one it is for.
        decide: Called with a trial that the scheduler had stopped.
    """

    def __init__(self, scheduler: "TrialScheduler", decide: Callable[[TuneTrial, Judgement], None]) -> None:
        self._scheduler = scheduler
        self._decide = decide
        self._trials: dict[str, TuneTrial] = {}
        self._live: dict[str, TuneTrial] = {}
        self._paused: dict[str, TuneTrial] = {}

    def add(self, trial: TuneTrial) -> None:
        """Take in a new trial, before the scheduler does."""
        self._trials[trial.trial_id] = self._live[trial.trial_id] = trial

    def set_status(self, trial: TuneTrial, status: TrialStatus) -> None:
        """Move a trial."""
        trial.status = status
        self._paused.pop(trial.trial_id, None)
        if status is TrialStatus.PAUSED:
            self._paused[trial.trial_id] = trial
        if not trial.is_live:
            self._live.pop(trial.trial_id, None)

    @property
    def trials(self) -> Mapping[str, TuneTrial]:
        """All trials by id, in the order in which they were added."""
        return self._trials

    @property
    def paused(self) -> list[TuneTrial]:
        """Trials that stand by, in the order in which they were paused."""
        return list(self._paused.values())

    @property
    def has_only_paused(self) -> bool:
        """Whether trials stand by, and no other trial is live."""
        return bool(self._paused) and len(self._paused) == len(self._live)

    def get_trials(self) -> list[TuneTrial]:
        """Return all trials, in the order in which they were added; Tune's name."""
        return list(self._trials.values())

    def get_live_trials(self) -> list[TuneTrial]:
        """Return the trials that may train on; Tune's name."""
        return list(self._live.values())

    def stop_trial(self, trial: TuneTrial) -> None:
        """End a trial, wherever it stands, and tell the scheduler so; Tune's name."""
        if not trial.is_live:
            return
        if trial.status is TrialStatus.RUNNING:
            self._scheduler.on_trial_complete(self, trial, trial.last_result)  # type: ignore[arg-type]
        else:
            self._scheduler.on_trial_remove(self, trial)  # type: ignore[arg-type]
        self.set_status(trial, TrialStatus.TERMINATED)
        self._decide(trial, EndHere())

    def fail_trial(self, trial: TuneTrial) -> None:
        """Take a trial that failed from the scheduler."""
        if not trial.is_live:
            return
        if trial.status is TrialStatus.PAUSED:
            self._scheduler.on_trial_remove(self, trial)  # type: ignore[arg-type]
        else:
            self._scheduler.on_trial_error(self, trial)  # type: ignore[arg-type]
        self.set_status(trial, TrialStatus.ERROR)
