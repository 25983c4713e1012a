"""How wide an interval has to be to hold what it says it holds: measured on past tasks, each left out.

Past tasks' deviations say how a new task may differ from what is predicted, and past tasks' scales how a
score reads in the metric. What neither of them holds, a single run's luck and how tasks differ beyond the few
that were seen, is a margin on the scores that is added at both ends.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from surrogates.data.normalisation import Array, TaskScale

_FEWEST_TASKS = 3
"""Below this many nothing can be said of how tasks tell each other."""
_MARGINS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5)
"""In quantile scores: tried in turn."""
_MOST_JUDGED = 40
"""Configs a task: those that looked best for it, as those are recommended."""


def learn_margin(
    scales: Sequence[TaskScale], scores: Array, predicted: Array, carried: Array, *, nominal: float
) -> float:
    """Choose the least margin with which intervals hold their share of past tasks' outcomes.

    Args:
        scales: How each past task's scores read in its metric, T of them.
        scores: At full fidelity, shape ``(T, C)``; NaN where not run.
        predicted: The same, predicted with the task left out.
        carried: Each task's deviations from it without what was a single run's own, shape ``(T, C)``.
        nominal: Share of outcomes that an interval should hold.

    Returns:
        In quantile scores; the one that comes nearest where none reaches the share.
    """
    if len(scales) < _FEWEST_TASKS:
        return 0.0
    judged = [_best(scores[task], predicted[task]) for task in range(len(scales))]
    shares = []
    for margin in _MARGINS:
        held = [
            _held(scales, task, scores[task, at], predicted[task, at], carried[:, at], margin, nominal)
            for task, at in enumerate(judged)
        ]
        shares.append(float(np.mean(held)))
        if shares[-1] >= nominal:
            break
    return _MARGINS[int(np.argmax(shares))]


def _best(scores: Array, predicted: Array) -> NDArray[np.int64]:
    run = np.flatnonzero(~np.isnan(scores) & ~np.isnan(predicted))
    few = min(max(len(run) // 3, 1), _MOST_JUDGED)
    return run[np.argsort(-predicted[run], kind="stable")][:few]


def _held(
    scales: Sequence[TaskScale],
    task: int,
    scores: Array,
    predicted: Array,
    carried: Array,
    margin: float,
    nominal: float,
) -> float:
    """Return the share of a task's outcomes within what the other tasks would have told."""
    others = [place for place in range(len(scales)) if place != task]
    told = predicted + carried[others]
    actual = scales[task].loss_at(scores)
    tail = 0.5 * (1.0 - nominal)
    worst = np.stack([scales[place].loss_at(told - margin) for place in others])
    best = np.stack([scales[place].loss_at(told + margin) for place in others])
    high = np.quantile(worst.reshape(-1, len(actual)), 1.0 - tail, axis=0)
    low = np.quantile(best.reshape(-1, len(actual)), tail, axis=0)
    return float(np.mean((low <= actual) & (actual <= high)))
