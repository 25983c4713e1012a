"""Work in threads: every item once, results whole, ends where it is told to."""

import threading
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.endpoint.concurrent import run_concurrently


@given(st.lists(st.none() | st.integers(), max_size=30), st.integers(1, 6))
def test_every_item_is_worked_on_once_and_its_result_bears_its_index(
    items: list[int | None], concurrency: int
) -> None:
    results = sorted(run_concurrently(lambda item: (item, "done"), items, concurrency=concurrency))
    assert results == [(index, (item, "done")) for index, item in enumerate(items)]


def test_as_many_are_under_way_as_was_said() -> None:
    together = threading.Barrier(3, timeout=10)

    def meet(item: int) -> int:
        together.wait()
        return item

    assert len(list(run_concurrently(meet, range(6), concurrency=3))) == 6


def test_after_a_stop_what_is_under_way_still_comes_and_nothing_more_is_begun() -> None:
    stop = threading.Event()

    def work(item: int) -> int:
        stop.set()
        return item

    assert list(run_concurrently(work, range(100), concurrency=1, stop=stop)) == [(0, 0)]


def test_error_is_raised_after_what_was_under_way_has_come() -> None:
    together = threading.Barrier(2, timeout=10)
    came: list[tuple[int, int]] = []

    def work(item: int) -> int:
        together.wait()
        if item == 0:
            raise ValueError("broken")
        return item

    def collect() -> None:
        for result in run_concurrently(work, range(2), concurrency=2):
            came.append(result)

    with pytest.raises(ValueError, match="broken"):
        collect()
    assert came == [(1, 1)]


def test_nothing_is_begun_after_an_error() -> None:
    begun: list[int] = []

    def work(item: int) -> NoReturn:
        begun.append(item)
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        list(run_concurrently(work, range(50), concurrency=1))
    assert begun == [0]


def test_tick_can_end_the_waiting_for_what_never_comes() -> None:
    never = threading.Event()
    begun: list[int] = []

    def hang(item: int) -> None:
        begun.append(item)
        never.wait()

    def give_up() -> NoReturn:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        list(run_concurrently(hang, range(9), concurrency=2, tick=give_up))
    never.set()
    assert sorted(begun) == [0, 1]
