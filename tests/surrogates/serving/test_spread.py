import pytest

from surrogates.serving.spread import Spread


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_everyone_is_asked_in_turn_and_the_next_one_stands_in() -> None:
    spread = Spread(3, start=1)
    assert [spread.turn() for _ in range(4)] == [[1, 2], [2, 0], [0, 1], [1, 2]]


def test_one_who_was_gone_is_asked_last_for_ten_seconds() -> None:
    clock = Clock()
    spread = Spread(2, start=0, clock=clock)
    spread.set_aside(0)
    assert [spread.turn() for _ in range(2)] == [[1, 0], [1, 0]]
    clock.now_s = 11.0
    assert spread.turn() == [0, 1]


def test_where_everyone_was_gone_all_are_tried_still() -> None:
    spread = Spread(2, start=0, clock=Clock())
    spread.set_aside(0)
    spread.set_aside(1)
    assert spread.turn() == [0, 1]


@pytest.mark.parametrize("_", range(5))
def test_one_alone_is_named_once(_: int) -> None:
    assert Spread(1).turn() == [0]
