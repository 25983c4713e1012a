import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from orchestrator.app.progress import ProgressDisplay, duration, plain_line, render
from orchestrator.app.tally import Tally
from orchestrator.contracts import Outcome
from tests.orchestrator.app.test_driver import a_plan
from tests.support.pool import a_point


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "?"),
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (425, "7 min 05 s"),
        (12_000, "3 h 20 min"),
    ],
)
def test_duration_is_said_as_people_say_it(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(1, 3)), max_size=30))
def test_tally_counts_a_point_once_however_often_it_is_told(told: list[tuple[int, int]]) -> None:
    plan = a_plan()
    tally = Tally(plan)
    reached: dict[int, int] = {}
    for index, epoch in told:
        if epoch == reached.get(index, 0) + 1:
            reached[index] = epoch
        elif epoch > reached.get(index, 0):
            continue
        tally.count_point(a_point(plan[index], 0, epoch))
    snapshot = tally.snapshot(running=0, workers=1)
    assert snapshot.points == sum(reached.values())
    assert snapshot.planned_points == 24


def test_epochs_that_an_ended_trial_will_never_run_are_no_longer_waited_for() -> None:
    plan = a_plan(tasks=1, configs=2)
    tally = Tally(plan)
    tally.count_point(a_point(plan[0], 0, 1))
    tally.count_outcome(plan[0], Outcome.DIVERGED)
    snapshot = tally.snapshot(running=1, workers=1)
    assert (snapshot.finished, snapshot.points, snapshot.planned_points) == (1, 1, 4)


def test_display_shows_the_same_counts_on_a_terminal_and_as_a_line() -> None:
    plan = a_plan()
    tally = Tally(plan)
    tally.count_point(a_point(plan[0], 0, 1))
    tally.count_outcome(plan[0], Outcome.OUT_OF_MEMORY)
    snapshot = tally.snapshot(running=2, workers=2)
    screen = Console(file=io.StringIO(), width=120, record=True)
    screen.print(render(snapshot))
    for text in (screen.export_text(), plain_line(snapshot)):
        assert "1/8 trials" in text
        assert "1 out_of_memory" in text
        assert "2 running" in text


def test_without_a_terminal_the_last_state_is_one_plain_line() -> None:
    written = io.StringIO()
    with ProgressDisplay(Console(file=written, width=200)) as display:
        display.show_last(Tally(a_plan()).snapshot(running=0, workers=1))
    assert written.getvalue().count("\n") == 1
    assert "0/8 trials (none yet)" in written.getvalue()
