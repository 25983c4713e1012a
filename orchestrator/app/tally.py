"""What a person wants to know of a running sweep, counted as it happens."""

import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from orchestrator.contracts import ConfigId, Outcome, TaskId, Trial, TrialId

_RATE_WINDOW_S = 60.0


class Point(Protocol):
    """The columns of a curve point that are counted: a ``CurvePoint``, or a row read back."""

    @property
    def trial_id(self) -> TrialId:
        """As in ``CurvePoint``."""

    @property
    def task_id(self) -> TaskId:
        """As in ``CurvePoint``."""

    @property
    def config_id(self) -> ConfigId:
        """As in ``CurvePoint``."""

    @property
    def epoch(self) -> int:
        """As in ``CurvePoint``."""

    @property
    def eval_loss(self) -> float:
        """As in ``CurvePoint``."""

    @property
    def eval_exact_match(self) -> float:
        """As in ``CurvePoint``."""


@dataclass(frozen=True, slots=True)
class Best:
    """The lowest validation loss a task has reached."""

    eval_loss: float
    eval_exact_match: float
    epoch: int
    config_id: ConfigId


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A sweep at one moment."""

    planned: int
    outcomes: Counter[Outcome]
    running: int
    points: int
    planned_points: int
    points_per_s: float
    elapsed_s: float
    left_s: float | None
    """Estimated seconds to the end at the present rate; None before there is a rate."""
    workers: int
    best_of_task: dict[str, Best | None]

    @property
    def finished(self) -> int:
        """Trials with an outcome."""
        return self.outcomes.total()


class Tally:
    """Counts points and outcomes.

    Args:
        trials: The plan.
    """

    def __init__(self, trials: Sequence[Trial]) -> None:
        self._planned = len(trials)
        self._names: dict[TaskId, str] = {trial.task_id: trial.task_name for trial in trials}
        self._planned_epochs = {trial.trial_id: trial.max_epochs for trial in trials}
        self._epochs_to_go = sum(trial.max_epochs for trial in trials)
        self._epochs_done: Counter[TrialId] = Counter()
        self._best_losses: dict[TrialId, float] = {}
        self._outcomes: Counter[Outcome] = Counter()
        self._finished: set[TrialId] = set()
        self._points = 0
        self._best: dict[TaskId, Best] = {}
        self._recent: deque[float] = deque()
        self._began_s = time.monotonic()

    @property
    def best_losses(self) -> Mapping[TrialId, float]:
        """Lowest validation loss of each trial so far."""
        return self._best_losses

    def recall(self, points: Iterable[Point], outcomes: Iterable[tuple[Trial, Outcome]]) -> None:
        """Take in what was on record before this driver began; it counts, but not towards the rate."""
        for point in points:
            self._add(point)
        for trial, outcome in outcomes:
            self.count_outcome(trial, outcome)

    def count_point(self, point: Point) -> None:
        """Count a point that has just been committed."""
        self._add(point)
        now_s = time.monotonic()
        self._recent.append(now_s)
        while self._recent[0] < now_s - _RATE_WINDOW_S:
            self._recent.popleft()

    def _add(self, point: Point) -> None:
        if point.epoch <= self._epochs_done[point.trial_id]:
            return
        self._epochs_done[point.trial_id] = point.epoch
        self._points += 1
        self._epochs_to_go -= 1
        loss = self._best_losses.get(point.trial_id)
        if loss is None or point.eval_loss < loss:
            self._best_losses[point.trial_id] = point.eval_loss
        best = self._best.get(point.task_id)
        if best is None or point.eval_loss < best.eval_loss:
            self._best[point.task_id] = Best(
                point.eval_loss, point.eval_exact_match, point.epoch, point.config_id
            )

    def count_outcome(self, trial: Trial, outcome: Outcome) -> None:
        """Count a trial that has its outcome, once; epochs it will never run are no longer waited for."""
        if trial.trial_id in self._finished:
            return
        self._finished.add(trial.trial_id)
        self._outcomes[outcome] += 1
        self._epochs_to_go -= self._planned_epochs[trial.trial_id] - self._epochs_done[trial.trial_id]

    def snapshot(self, *, running: int, workers: int) -> Snapshot:
        """Return the counts as they stand.

        Args:
            running: Trials on workers.
            workers: Workers alive.

        Returns:
            The counts; the rate is that of the last minute.
        """
        now_s = time.monotonic()
        since_s = max(self._began_s, now_s - _RATE_WINDOW_S)
        rate = len(self._recent) / (now_s - since_s) if now_s > since_s else 0.0
        return Snapshot(
            planned=self._planned,
            outcomes=Counter(self._outcomes),
            running=running,
            points=self._points,
            planned_points=self._points + self._epochs_to_go,
            points_per_s=rate,
            elapsed_s=now_s - self._began_s,
            left_s=self._epochs_to_go / rate if rate > 0 else None,
            workers=workers,
            best_of_task={name: self._best.get(task_id) for task_id, name in self._names.items()},
        )
