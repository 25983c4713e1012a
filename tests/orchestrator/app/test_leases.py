from hypothesis import given
from hypothesis import strategies as st

from orchestrator.app.leases import MOST_LEASES, WORK_AHEAD_S, LeaseSizing
from orchestrator.contracts import WorkerId

W = WorkerId("w")


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@given(trial_s=st.floats(WORK_AHEAD_S, 1e5), rounds=st.integers(1, 20))
def test_worker_of_ordinary_trials_holds_one_lease(trial_s: float, rounds: int) -> None:
    clock = Clock()
    sizing = LeaseSizing(clock)
    assert sizing.join(W) == 1
    for _ in range(rounds):
        clock.now_s += trial_s
        assert sizing.ended(W, 1) is None


@given(trial_s=st.floats(1e-6, 0.4))
def test_worker_of_light_trials_comes_to_hold_as_many_as_half_a_second_takes(trial_s: float) -> None:
    clock = Clock()
    sizing = LeaseSizing(clock)
    capacity = sizing.join(W)
    for _ in range(30):
        clock.now_s += trial_s * capacity
        capacity = sizing.ended(W, capacity) or capacity
    assert 1 <= capacity <= MOST_LEASES
    assert capacity * trial_s <= WORK_AHEAD_S * 1.01 or capacity == 1
    assert capacity == MOST_LEASES or (capacity + 1) * trial_s > WORK_AHEAD_S * 0.99


def test_worker_whose_trials_become_long_comes_back_to_one_lease() -> None:
    clock = Clock()
    sizing = LeaseSizing(clock)
    sizing.join(W)
    clock.now_s += 0.01
    assert (sizing.ended(W, 1) or 1) > 1
    capacity = 0
    for _ in range(10):
        clock.now_s += 60.0
        capacity = sizing.ended(W, 1) or capacity
    assert capacity == 1


def test_worker_that_left_is_forgotten() -> None:
    clock = Clock()
    sizing = LeaseSizing(clock)
    sizing.join(W)
    clock.now_s += 0.001
    sizing.ended(W, 1)
    sizing.leave(W)
    assert sizing.join(W) == 1
