"""How far to trust each model and how far the plain record of past tasks: measured on tasks left out.

| symbol | meaning |
|---|---|
| g | the kernel model's score |
| x | the trees' score with the task's meta-features |
| o | the trees' score for an unknown task |
| r | the config's mean score over past tasks, weighted by likeness, drawn towards o where few tasks ran it |

A config that past tasks ran gets ``w·(g, x, o, r)``, one that none ran ``v·(g, x, o)``; both sets of weights
are learned, and without evidence the first is half the kernel model and half the record.
"""

from dataclasses import dataclass

import numpy as np

from surrogates.data.normalisation import Array
from surrogates.data.score_table import ScoreTable
from surrogates.models.boosting import nonnegative_weights
from surrogates.models.performance import LeftOut

PSEUDO_TASKS = 1.0
"""The trees' word counts as much as so many tasks that ran the config."""
_PRIOR_STRENGTH = 0.4
"""Of the prior weights against the rows, divided by the number of tasks."""
_LEAST_WEIGHT = 0.2
"""Share of all weights below which a voice is not worth its time."""
_PRIOR_SEEN = np.array([0.5, 0.0, 0.0, 0.5])
_PRIOR_FRESH = np.array([0.75, 0.0, 0.0])
"""A config that nobody ran, and models that nobody could test: part of the way to the average."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the models say; all of one shape."""

    kernel: Array
    with_features: Array
    without_features: Array
    record: Array
    """Weighted mean scores on past tasks; anything where ``behind`` is 0."""
    behind: Array
    """Past tasks behind the record; 0 where none ran the config."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blend:
    """Learned weights, and how each past task deviated from what they would have said of it."""

    seen: Array
    """Weights of g, x, o, r for configs that past tasks ran."""
    fresh: Array
    """Weights of g, x, o for configs that none ran."""
    deviations: Array
    """Score minus prediction, the task left out; NaN where not run; shape ``(T, C, F)``."""

    def combine(self, told: Told) -> Array:
        """Return the blended scores, never falling with the fidelity.

        Args:
            told: Of P configs at F fidelities.

        Returns:
            Shape ``(P, F)``.
        """
        return np.asarray(np.maximum.accumulate(_blended(self.seen, self.fresh, told), axis=1))


def learn_blend(table: ScoreTable, left_out: LeftOut, told: Told) -> Blend:
    """Learn the weights on tasks left out.

    Args:
        table: What was measured.
        left_out: The rows that are learned from.
        told: What was told of them, the task left out, shape ``(n,)``.

    Returns:
        The blend.
    """
    at = (left_out.task, left_out.config, left_out.fidelity)
    scores = table.scores[at]
    # What separates the good from the best decides; the bad need only be known as bad.
    emphasis = np.sqrt(0.1 + 1.0 / (1.0 + np.exp(-1.7 * scores)))
    strength = _PRIOR_STRENGTH / len(table.task_ids)
    columns = _columns(told) * emphasis[:, None]
    targets = scores * emphasis
    run, alone = (told.behind > 0) & ~left_out.is_fresh, left_out.is_fresh
    seen = _weights(columns[run], targets[run], _PRIOR_SEEN, strength)
    fresh = _weights(columns[alone, :3], targets[alone], _PRIOR_FRESH, strength)
    deviations = np.full(table.scores.shape, np.nan)
    deviations[at] = scores - _blended(seen, fresh, told)
    if len(table.task_ids) == 1:
        deviations[table.is_run] = 0.0  # one task has nothing to deviate from
    return Blend(seen=seen, fresh=fresh, deviations=deviations)


def _weights(columns: Array, targets: Array, prior: Array, strength: float) -> Array:
    """Learn weights twice: a voice that hardly counts the first time is not asked again."""
    first = nonnegative_weights(columns, targets, prior, strength=strength)
    heard = first >= _LEAST_WEIGHT * first.sum()
    weights = np.zeros(len(prior))
    weights[heard] = nonnegative_weights(columns[:, heard], targets, prior[heard], strength=strength)
    return weights


def _columns(told: Told) -> Array:
    drawn = (told.behind * told.record + PSEUDO_TASKS * told.without_features) / (told.behind + PSEUDO_TASKS)
    return np.stack([told.kernel, told.with_features, told.without_features, drawn], axis=-1)


def _blended(seen: Array, fresh: Array, told: Told) -> Array:
    columns = _columns(told)
    return np.asarray(np.where(told.behind > 0, columns @ seen, columns[..., :3] @ fresh))
