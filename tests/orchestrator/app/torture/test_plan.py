import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.app.torture.plan import LONGEST_PAUSE_S, KillKind, draw_kills
from orchestrator.contracts import InputError


@given(st.integers(0, 2**32), st.integers(1, 60))
def test_a_seed_draws_one_plan_whose_numbers_are_in_range(seed: int, count: int) -> None:
    kills = draw_kills(seed, count)
    assert kills == draw_kills(seed, count)
    assert len(kills) == count
    for kill in kills:
        assert 0 <= kill.pause_s <= LONGEST_PAUSE_S
        assert 0 <= kill.pick < 1
        assert kill.absence_s >= 0


@given(st.integers(0, 2**32), st.integers(4, 60))
def test_from_four_on_every_kind_is_killed(seed: int, count: int) -> None:
    assert {kill.kind for kill in draw_kills(seed, count)} == set(KillKind)


def test_other_seeds_draw_other_plans_and_workers_are_hit_most() -> None:
    plans = {draw_kills(seed, 200) for seed in range(20)}
    assert len(plans) == 20
    for kills in plans:
        counts = [sum(kill.kind is kind for kill in kills) for kind in KillKind]
        assert counts[0] == max(counts)
        assert sum(kill.in_recovery for kill in kills) in range(20, 90)


@pytest.mark.parametrize("count", [0, -3])
def test_a_plan_without_kills_is_refused(count: int) -> None:
    with pytest.raises(InputError, match=f"--kills must be at least 1, got {count}"):
        draw_kills(1, count)
