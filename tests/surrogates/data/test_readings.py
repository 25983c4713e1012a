import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from surrogates.data.normalisation import TaskScale
from surrogates.data.readings import Readings


def scale_of(rng: np.random.Generator) -> TaskScale:
    """A scale of 1 to 65 knots, some of them equal, some very near each other."""
    count = int(rng.integers(1, 66))
    knots = np.sort(rng.normal(size=count) if rng.random() < 0.5 else rng.integers(-4, 5, count) / 2.0)
    if rng.random() < 0.3:
        knots[: count // 2] = knots[0] + 1e-6 * np.arange(count // 2)
    knots = np.sort(knots)
    values = rng.normal(size=(3, count))
    return TaskScale(knots, values[0], {"accuracy": values[1]}, values[2])


@given(st.integers(0, 2**32))
def test_all_scales_at_once_read_what_each_reads_alone(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scales = [scale_of(rng) for _ in range(int(rng.integers(1, 6)))]
    scores = rng.normal(size=(2, len(scales), 50)) * 2
    for task, scale in enumerate(scales):
        scores[0, task, :20] = rng.choice(scale.scores, 20)
        scores[1, task, :3] = (scale.scores[0], scale.scores[-1], np.nextafter(scale.scores[-1], -9.0))
    readings = Readings.of(scales)
    found = readings.find(scores)
    for line, name in (
        (readings.goodness, "goodness_at"),
        (readings.losses, "loss_at"),
    ):
        alone = np.stack([getattr(s, name)(scores[:, t]) for t, s in enumerate(scales)], axis=1)
        np.testing.assert_allclose(found.read(line), alone, rtol=0, atol=1e-9)
    alone = np.stack([s.report_at("accuracy", scores[:, t]) for t, s in enumerate(scales)], axis=1)
    np.testing.assert_allclose(found.read(readings.reports["accuracy"]), alone, rtol=0, atol=1e-9)


def test_scores_that_are_common_to_all_scales_are_read_by_each() -> None:
    rng = np.random.default_rng(1)
    scales = [scale_of(rng) for _ in range(4)]
    readings, scores = Readings.of(scales), rng.normal(size=(1, 30))
    alone = np.stack([scale.loss_at(scores[0]) for scale in scales])
    np.testing.assert_allclose(readings.find(scores).read(readings.losses), alone, rtol=0, atol=1e-9)
