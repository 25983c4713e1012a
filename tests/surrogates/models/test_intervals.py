import numpy as np
import pytest

from surrogates.data.normalisation import Array, TaskScale
from surrogates.models.intervals import learn_margin

TASKS, CONFIGS = 8, 40


def _scales(slopes: Array) -> list[TaskScale]:
    knots = np.linspace(-3, 3, 30)
    return [TaskScale.fitted(knots, 2.0 - slope * knots, {}, best=0.0, gap=1.0) for slope in slopes]


def _learned(noise: float, slopes: Array, seed: int = 0) -> float:
    rng = np.random.default_rng(seed)
    predicted = np.tile(rng.normal(size=CONFIGS), (TASKS, 1))
    carried = 0.1 * rng.normal(size=(TASKS, CONFIGS))
    scores = predicted + carried + noise * rng.normal(size=(TASKS, CONFIGS))
    return learn_margin(_scales(slopes), scores, predicted, carried, nominal=0.8)


def test_margin_grows_with_what_past_tasks_deviations_do_not_tell() -> None:
    alike = np.ones(TASKS)
    margins = [np.mean([_learned(noise, alike, seed) for seed in range(5)]) for noise in (0.0, 0.3, 0.8)]
    assert margins[0] < 0.15 < margins[1] < margins[2]


def test_tasks_that_read_scores_differently_need_less_of_a_margin() -> None:
    margins = [
        np.mean([_learned(0.3, slopes, seed) for seed in range(5)])
        for slopes in (np.linspace(0.5, 1.5, TASKS), np.ones(TASKS))
    ]
    assert margins[0] < margins[1]


def test_two_tasks_say_nothing_of_how_wide_an_interval_has_to_be() -> None:
    scores = np.zeros((2, 5))
    assert learn_margin(_scales(np.ones(2)), scores, scores, scores, nominal=0.8) == 0.0


@pytest.mark.parametrize("missing", [0.3, 0.8])
def test_configs_that_were_not_run_are_passed_over(missing: float) -> None:
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(TASKS, CONFIGS))
    scores[rng.random(scores.shape) < missing] = np.nan
    predicted = np.where(np.isnan(scores), np.nan, 0.0)
    margin = learn_margin(_scales(np.ones(TASKS)), scores, predicted, np.zeros((TASKS, CONFIGS)), nominal=0.8)
    assert 0.5 < margin < 2.0
