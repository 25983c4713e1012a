"""What choices are predicted to reach, in the metrics' own units: middles and intervals.

Every past task reads every sampled score on its own scale; the middle of all that is the prediction. The ends
are read with the margin that past tasks turned out to need, once off and once on.

| symbol | meaning |
|---|---|
| K | choices |
| S | samples, which are past tasks again, or some of the model's error where there is only one |
| T | past tasks as readers |
"""

import numpy as np

from surrogates.data.normalisation import Array, Direction, to_loss
from surrogates.data.readings import Readings
from surrogates.plan import INTERVAL, Prediction

_SHARES = np.array([0.5 - INTERVAL / 2, 0.5, 0.5 + INTERVAL / 2])


def predictions(
    readings: Readings,
    scores: Array,
    *,
    scale_weights: Array,
    sample_weights: Array,
    margin: float,
    metric: str,
    direction: Direction,
) -> list[list[Prediction]]:
    """Predict the metric and the reports of choices.

    Args:
        readings: The past tasks' scales.
        scores: Sampled scores of each choice, shape ``(K, S)``.
        scale_weights: Of the past tasks as readers, shape ``(T,)``.
        sample_weights: Shape ``(S,)``.
        margin: What intervals need at both ends, in scores.
        metric: Name of the metric.
        direction: Which way it improves.

    Returns:
        Choice by choice the metric, then the reports of which anything is known.
    """
    count = len(scores)
    asked = (scores + np.array([-margin, 0.0, margin])[:, None, None]).reshape(1, -1)
    found = readings.find(asked)
    losses = to_loss(found.read(readings.losses), direction)
    read = {metric: losses, **{name: found.read(line) for name, line in readings.reports.items()}}
    shape = (len(read), len(scale_weights), 3, count, -1)
    by_task = np.concatenate(list(read.values())).reshape(shape)
    values: Array = by_task.transpose(0, 2, 3, 1, 4).reshape(len(read), 3, count, -1)
    known = np.isfinite(values)
    weights = np.where(known, (scale_weights[:, None] * sample_weights).ravel(), 0.0)
    middles = _quantiles(values, weights)
    ends = middles[:, ::2, :, ::2]
    lows, highs = ends.min(axis=(1, 3)).tolist(), ends.max(axis=(1, 3)).tolist()
    is_told = np.asarray(known.any(axis=(1, 3)))
    is_told[0] = True
    told = middles[:, 1, :, 1].tolist()
    return [
        [
            Prediction(metric=name, value=told[row][choice], low=lows[row][choice], high=highs[row][choice])
            for row, name in enumerate(read)
            if is_told[row, choice]
        ]
        for choice in range(count)
    ]


def _quantiles(values: Array, weights: Array) -> Array:
    """Return the values below which the shares of the weight lie, along the last axis.

    Values that are not finite must have the weight 0.
    """
    shape, count = values.shape, values.shape[-1]
    values, weights = values.reshape(-1, count), weights.reshape(-1, count)
    order = np.argsort(np.where(weights > 0, values, np.inf), axis=-1)
    row_starts = np.arange(0, values.size, count)[:, None]
    order += row_starts
    held = np.add.accumulate(weights.ravel()[order], axis=-1)
    # The weight that is held never falls, and the last is above every share of it: the first that is enough.
    places = (held[:, None, :] >= (_SHARES * held[:, -1:])[..., None]).argmax(axis=-1)
    found: Array = values.ravel()[order.ravel()[places + row_starts]]
    return found.reshape(*shape[:-1], len(_SHARES))
