import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.contracts import Config, InputError
from surrogates.recommender import Recommender
from surrogates.session import Arm, Session, Suggestion
from surrogates.stepwise import Point, Sequenced, Step
from tests.surrogates.synthetic import World, make

FEATURES = {"size": 120.0, "hint": 3.4, "noise": 0.1, "level": 1.0}
CONFIGS: tuple[Config, ...] = ({"lr": 0.1}, {"lr": 0.2}, {"lr": 0.3})


@pytest.fixture(scope="module")
def recommender() -> Recommender:
    return Recommender.fit(make(World(tasks=4, configs=12, epochs=3)))


class Watching:
    """Suggests what it is given, and keeps what it is told."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._left = list(steps)
        self.told: list[tuple[Step, list[Point], bool]] = []

    def ask(self) -> Step | None:
        return self._left.pop(0) if self._left else None

    def tell(self, step: Step, points: Sequence[Point], *, failed: bool) -> None:
        self.told.append((step, list(points), failed))


def to_the_end(session: Session, value: float, cost_s: float, *, failed: bool) -> list[Suggestion]:
    seen = []
    while (suggestion := session.ask()) is not None:
        seen.append(suggestion)
        new = 0 if failed else suggestion.epochs - suggestion.from_epoch
        session.tell(suggestion.config, suggestion.epochs, [value] * new, [cost_s] * new, failed=failed)
    return seen


@pytest.mark.parametrize(
    ("value", "cost_s", "failed"),
    [(0.5, 0.0, False), (math.nan, 1e9, False), (-1e300, 1e-9, False), (0.0, 0.0, True)],
)
def test_transfer_only_session_follows_the_plan_whatever_it_is_told(
    recommender: Recommender, value: float, cost_s: float, failed: bool
) -> None:
    plan = recommender.plan(FEATURES, 40.0)
    seen = to_the_end(recommender.session(FEATURES, 40.0), value, cost_s, failed=failed)
    # What lies beyond the budget by what was predicted is for those who have seconds left.
    expected = [c for c in plan.choices if not (c.is_reserve and cost_s == 1e9)]
    assert [(s.config, s.epochs) for s in seen] == [(c.config, c.epochs) for c in expected]
    assert 1 < len(expected) <= len(plan.choices)


def test_transfer_only_session_may_be_asked_by_several_workers_and_told_in_any_order(
    recommender: Recommender,
) -> None:
    session = recommender.session(FEATURES, 40.0)
    first, second = session.ask(), session.ask()
    assert first is not None
    assert second is not None
    assert list(session.pending) == [first, second]
    session.tell(second.config, second.epochs, [1.0] * second.epochs, [2.0] * second.epochs)
    assert list(session.pending) == [first]
    assert session.spent_s == 2.0 * second.epochs


@settings(deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=8))
def test_config_that_comes_again_is_continued_and_its_epochs_are_counted_on(epochs: list[int]) -> None:
    targets = [sum(epochs[: place + 1]) for place in range(len(epochs))]
    watching = Watching([Step(candidate=0, epochs=target) for target in targets])
    session = Session(Arm.CONDITION, watching, CONFIGS, budget_s=None)
    for target, new in zip(targets, epochs, strict=True):
        suggestion = session.ask()
        assert suggestion == Suggestion(config=CONFIGS[0], epochs=target, from_epoch=target - new)
        session.tell(CONFIGS[0], target, [0.5] * new, [1.0] * new)
    assert [point.epoch for _, points, _ in watching.told for point in points] == [*range(1, sum(epochs) + 1)]
    assert session.ask() is None


def test_step_that_continues_a_running_config_is_held_back_until_that_was_told() -> None:
    steps = [(0, 1), (0, 2), (1, 1), (0, 3)]
    session = Session(
        Arm.TRANSFER_ONLY, Sequenced([Step(candidate=c, epochs=e) for c, e in steps]), CONFIGS, budget_s=None
    )
    assert session.ask() == Suggestion(config=CONFIGS[0], epochs=1, from_epoch=0)
    assert session.ask() == Suggestion(config=CONFIGS[1], epochs=1, from_epoch=0)
    for _ in range(2):
        with pytest.raises(InputError, match="all that is left continues configs that still run"):
            session.ask()
    session.tell(CONFIGS[0], 1, [0.4], [1.0])
    assert session.ask() == Suggestion(config=CONFIGS[0], epochs=2, from_epoch=1)
    session.tell(CONFIGS[0], 2, [0.4], [1.0])
    assert session.ask() == Suggestion(config=CONFIGS[0], epochs=3, from_epoch=2)
    session.tell(CONFIGS[0], 3, [0.4], [1.0])
    assert session.ask() is None


def test_arm_that_looks_at_outcomes_refuses_a_second_ask_before_the_first_is_told() -> None:
    watching = Watching([Step(candidate=0, epochs=1), Step(candidate=1, epochs=1)])
    session = Session(Arm.REFIT, watching, CONFIGS, budget_s=10.0)
    session.ask()
    with pytest.raises(InputError, match=r"arm refit .* tell the outcome .* arm='transfer-only'"):
        session.ask()
    session.tell(CONFIGS[0], 1, [], [], failed=True)
    assert watching.told == [(Step(candidate=0, epochs=1), [], True)]
    assert session.ask() is not None


def test_arm_that_looks_at_outcomes_ends_when_the_seconds_told_reach_the_budget() -> None:
    watching = Watching([Step(candidate=0, epochs=1), Step(candidate=1, epochs=1)])
    session = Session(Arm.CONDITION, watching, CONFIGS, budget_s=10.0)
    session.ask()
    session.tell(CONFIGS[0], 1, [0.5], [10.0])
    assert session.ask() is None


@pytest.mark.parametrize(
    ("values", "costs_s", "failed", "message"),
    [
        ([0.5], [1.0, 1.0], False, "1 values and 2 costs"),
        ([0.5], [1.0], False, "asked for 2 new epochs, from 1 to 2, and there are values of 1"),
        ([0.5] * 3, [1.0] * 3, True, "there are values of 3"),
        ([0.5] * 2, [1.0, -1.0], False, "seconds from 0, got -1"),
        ([0.5] * 2, [1.0, math.nan], False, "seconds from 0, got nan"),
    ],
)
def test_outcome_that_cannot_be_right_is_refused_and_can_be_told_again(
    values: list[float], costs_s: list[float], failed: bool, message: str
) -> None:
    watching = Watching([Step(candidate=0, epochs=2)])
    session = Session(Arm.TRANSFER_ONLY, watching, CONFIGS, budget_s=None)
    session.ask()
    with pytest.raises(InputError, match=message):
        session.tell(CONFIGS[0], 2, values, costs_s, failed=failed)
    assert watching.told == []
    session.tell(CONFIGS[0], 2, [0.5, 0.4], [1.0, 1.0])
    with pytest.raises(InputError, match="was not suggested, or was told before; waited for: nothing"):
        session.tell(CONFIGS[0], 2, [0.5, 0.4], [1.0, 1.0])


def test_session_with_an_unknown_arm_or_no_budget_is_refused(recommender: Recommender) -> None:
    with pytest.raises(InputError, match="arm must be transfer-only, condition, refit, got 'magic'"):
        recommender.session(FEATURES, 40.0, arm="magic")
    for arm in Arm:
        with pytest.raises(InputError, match="a budget must be above 0 s, got 0"):
            recommender.session(FEATURES, 0.0, arm=arm)


@pytest.mark.parametrize("arm", [Arm.CONDITION, Arm.REFIT])
def test_arms_that_look_at_outcomes_go_one_epoch_at_a_time_until_the_budget_is_told(arm: Arm) -> None:
    small = Recommender.fit(make(World(tasks=3, configs=6, epochs=2)))
    session = small.session(FEATURES, 3.0, candidates=small.pool.configs[:4], arm=arm)
    seen = to_the_end(session, 0.5, 1.0, failed=False)
    assert len(seen) == 3
    assert all(s.epochs == s.from_epoch + 1 for s in seen)
