import numpy as np
import pytest

from surrogates.baselines.progress import Progress
from surrogates.data.normalisation import Direction
from surrogates.stepwise import Point, Problem, Step


def _progress(direction: Direction = Direction.MINIMISE) -> Progress:
    return Progress(
        Problem(features={}, candidates=({"x": 1}, {"x": 2}), budget_s=1.0, max_epochs=8, direction=direction)
    )


def _points(*found: tuple[int, float]) -> list[Point]:
    return [Point(epoch=epoch, value=value, cost_s=1.0) for epoch, value in found]


@pytest.mark.parametrize("direction", Direction)
def test_a_loss_is_the_lowest_up_to_an_epoch_also_where_not_every_epoch_is_on_record(
    direction: Direction,
) -> None:
    progress, sign = _progress(direction), 1.0 if direction is Direction.MINIMISE else -1.0
    progress.record(Step(candidate=0, epochs=4), _points((2, 3.0 * sign), (4, 5.0 * sign)), failed=False)
    progress.record(Step(candidate=0, epochs=6), _points((6, 2.0 * sign)), failed=False)
    assert [progress.loss(0, epoch) for epoch in range(1, 9)] == [np.inf, 3, 3, 3, 3, 2, 2, 2]
    assert progress.losses(8).tolist() == [2.0, np.inf]
    assert progress.below(7).tolist() == [True, True]
    assert progress.below(6).tolist() == [False, True]


def test_a_trial_that_diverged_leaves_nothing_and_one_that_ended_early_what_it_reached() -> None:
    progress = _progress()
    progress.record(Step(candidate=0, epochs=2), _points((1, 3.0), (2, 2.0)), failed=False)
    progress.record(Step(candidate=1, epochs=2), _points((1, 3.0)), failed=True)
    assert progress.losses(8).tolist() == [2.0, 3.0]
    assert not progress.is_over
    progress.record(Step(candidate=0, epochs=8), _points((3, 1.0), (4, np.nan)), failed=True)
    assert progress.losses(8).tolist() == [np.inf, 3.0]
    assert progress.losses(1).tolist() == [np.inf, 3.0]
    assert progress.is_over
