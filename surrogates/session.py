"""Working through a new task step by step: ask what to run, run it, tell what came of it.

| arm | what is told changes | asks before tells |
|---|---|---|
| ``transfer-only`` | nothing: the steps are those of the plan | as many as there are workers |
| ``condition`` | what is believed of the new task; no weight | one |
| ``refit`` | the weights too | one |

A plan's reserve, which by what was predicted lies beyond the budget, is suggested while seconds are left.
The arms ``condition`` and ``refit`` are Quick-Tune's, and need gpytorch.
"""

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.contracts import Config, ConfigId, InputError, config_id
from surrogates.plan import Plan
from surrogates.stepwise import Optimiser, Point, Sequenced, Step


class Arm(enum.StrEnum):
    """What the outcomes on the new task may change."""

    TRANSFER_ONLY = "transfer-only"
    CONDITION = "condition"
    REFIT = "refit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """What to run next."""

    config: Config
    epochs: int
    """Train until this epoch, from 1."""
    from_epoch: int
    """Epochs that earlier suggestions of this config asked for; 0 for a new one."""


class Session:
    """One task, worked through step by step; one call at a time. Open it with ``Recommender.session``.

    Args:
        arm: What the outcomes may change.
        optimiser: What chooses.
        candidates: What its steps point at.
        budget_s: Seconds of training and evaluation after which nothing is suggested; None: no end.
        planned: The first so many suggestions are made whatever was spent: they are within the budget by what
            was predicted, and what is left of it is the caller's to judge.
    """

    def __init__(
        self,
        arm: Arm,
        optimiser: Optimiser,
        candidates: Sequence[Config],
        *,
        budget_s: float | None,
        planned: int = 0,
    ) -> None:
        self.arm = arm
        self._left_planned = planned
        self._optimiser = optimiser
        self._candidates = tuple(candidates)
        self._budget_s = budget_s
        self._spent_s = 0.0
        self._pending: dict[ConfigId, tuple[Suggestion, Step]] = {}
        self._epochs: dict[ConfigId, int] = {}
        self._held: list[Step] = []

    @property
    def spent_s(self) -> float:
        """Seconds told so far."""
        return self._spent_s

    @property
    def pending(self) -> tuple[Suggestion, ...]:
        """Suggestions that nothing was told of yet, in the order in which they were made."""
        return tuple(suggestion for suggestion, _ in self._pending.values())

    def ask(self) -> Suggestion | None:
        """Return what to run next; None when nothing is left that the budget holds.

        A step that continues a config which still runs is held back until that was told; a later one is
        given instead.

        Returns:
            The suggestion.

        Raises:
            InputError: The arm waits for the outcome of its last suggestion, or all that is left continues
                configs that still run.
        """
        if self.arm is not Arm.TRANSFER_ONLY and self._pending:
            raise InputError(
                f"the arm {self.arm} chooses by what happened: tell the outcome of its last suggestion "
                f"first, or open the session with arm={Arm.TRANSFER_ONLY.value!r} to run several at once"
            )
        if self._left_planned <= 0 and self._budget_s is not None and self._spent_s >= self._budget_s:
            return None
        step = self._next_step()
        if step is None:
            if self._held:
                raise InputError(
                    "all that is left continues configs that still run; tell the outcome of one of them first"
                )
            return None
        config = self._candidates[step.candidate]
        key = config_id(config)
        suggestion = Suggestion(config=config, epochs=step.epochs, from_epoch=self._epochs.get(key, 0))
        self._pending[key] = (suggestion, step)
        self._epochs[key] = step.epochs
        self._left_planned -= 1
        return suggestion

    def _next_step(self) -> Step | None:
        for place, step in enumerate(self._held):
            if not self._is_running(step):
                return self._held.pop(place)
        while (drawn := self._optimiser.ask()) is not None:
            if not self._is_running(drawn):
                return drawn
            self._held.append(drawn)
        return None

    def _is_running(self, step: Step) -> bool:
        return config_id(self._candidates[step.candidate]) in self._pending

    def tell(
        self,
        config: Config,
        epochs: int,
        values: Sequence[float],
        costs_s: Sequence[float],
        *,
        failed: bool = False,
    ) -> None:
        """Say what came of a suggestion.

        Args:
            config: As it was suggested.
            epochs: As they were suggested.
            values: The metric at each new epoch, in order; NaN where the trial failed there. Fewer than the
                suggestion's new epochs only if it failed.
            costs_s: Seconds of each of these epochs.
            failed: Whether the config can't be trained any further.

        Raises:
            InputError: Nothing like it was suggested, or the outcome can't be right; nothing was taken in.
        """
        key = config_id(config)
        if key not in self._pending or self._pending[key][0].epochs != epochs:
            waiting = "; ".join(f"{dict(s.config)} to epoch {s.epochs}" for s in self.pending)
            raise InputError(
                f"{dict(config)} to epoch {epochs} was not suggested, or was told before; waited for: "
                f"{waiting or 'nothing'}"
            )
        suggestion, step = self._pending[key]
        _check(suggestion, values, costs_s, failed=failed)
        points = [
            Point(epoch=suggestion.from_epoch + number, value=float(value), cost_s=float(cost_s))
            for number, (value, cost_s) in enumerate(zip(values, costs_s, strict=True), start=1)
        ]
        self._optimiser.tell(step, points, failed=failed)
        self._spent_s += math.fsum(costs_s)
        del self._pending[key]


def planned_session(plan: Plan) -> Session:
    """Return the session that follows a plan, whatever comes of its steps."""
    configs = [choice.config for choice in plan.choices]
    steps = [Step(candidate=place, epochs=choice.epochs) for place, choice in enumerate(plan.choices)]
    planned = sum(not choice.is_reserve for choice in plan.choices)
    return Session(Arm.TRANSFER_ONLY, Sequenced(steps), configs, budget_s=plan.budget_s, planned=planned)


def checked_arm(arm: Arm | str) -> Arm:
    """Return the arm of that name, or raise ``InputError``."""
    try:
        return Arm(arm)
    except ValueError as err:
        raise InputError(f"arm must be {', '.join(Arm)}, got {arm!r}") from err


def _check(
    suggestion: Suggestion, values: Sequence[float], costs_s: Sequence[float], *, failed: bool
) -> None:
    new = suggestion.epochs - suggestion.from_epoch
    if len(values) != len(costs_s):
        raise InputError(
            f"there are {len(values)} values and {len(costs_s)} costs; give one of each an epoch"
        )
    if len(values) > new or (len(values) < new and not failed):
        raise InputError(
            f"the suggestion asked for {new} new epochs, from {suggestion.from_epoch + 1} to "
            f"{suggestion.epochs}, and there are values of {len(values)}; give all of them, or fewer and "
            "failed=True"
        )
    wrong = [cost_s for cost_s in costs_s if not (math.isfinite(cost_s) and cost_s >= 0)]
    if wrong:
        raise InputError(f"a cost is seconds from 0, got {wrong[0]}")
