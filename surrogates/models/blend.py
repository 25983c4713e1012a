"""How far to trust the model and how far the plain record of past tasks: measured on tasks left out.

| symbol | meaning |
|---|---|
| x | the model's score with the task's meta-features |
| o | the model's score for an unknown task |
| r | the config's mean score over past tasks, weighted by likeness, drawn towards o where few tasks ran it |

A config that past tasks ran gets ``w·(x, o, r)``, one that none ran ``v·(x, o)``; both sets of weights are
learned, and without evidence the first is (0, 0, 1): the average-rank portfolio.
"""

from dataclasses import dataclass

import numpy as np

from surrogates.data.normalisation import Array
from surrogates.data.score_table import ScoreTable
from surrogates.models.boosting import nonnegative_weights
from surrogates.models.performance import LeftOut

_PSEUDO_TASKS = 1.0
"""The model's word counts as much as so many tasks that ran the config."""
_PRIOR_STRENGTH = 0.4
"""Of the prior weights against the rows, divided by the number of tasks."""
_RECORD_ONLY = np.array([0.0, 0.0, 1.0])
_HALF_OF_UNKNOWN = np.array([0.0, 0.5])
"""A config that nobody ran, and a model that nobody could test: half-way to the average."""
_SIMILAR = 0.15
"""Distance of configs over which a deviation carries over; two random configs are about 0.35 apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blend:
    """Learned weights, and how each past task deviated from what they would have said of it."""

    seen: Array
    """Weights of x, o, r for configs that past tasks ran."""
    fresh: Array
    """Weights of x, o for configs that none ran."""
    deviations: Array
    """Score minus prediction, the task left out; NaN where not run; shape ``(T, C, F)``."""

    def combine(self, x: Array, o: Array, means: Array, counts: Array) -> Array:
        """Return the blended scores, never falling with the fidelity.

        Args:
            x: With meta-features, shape ``(P, F)``.
            o: For an unknown task, shape ``(P, F)``.
            means: Weighted mean scores on past tasks, shape ``(P, F)``.
            counts: Past tasks behind them, shape ``(P, F)``.

        Returns:
            Shape ``(P, F)``.
        """
        blended = _blended(self.seen, self.fresh, x, o, means, counts)
        return np.asarray(np.maximum.accumulate(blended, axis=1))


def learn_blend(table: ScoreTable, left_out: LeftOut, means: Array, counts: Array) -> Blend:
    """Learn the weights on tasks left out.

    Args:
        table: What was measured.
        left_out: The model's predictions for tasks left out.
        means: Every task's scores told from the other tasks' records, shape ``(T, C, F)``.
        counts: Tasks behind them, shape ``(T, C, F)``.

    Returns:
        The blend.
    """
    at = (left_out.task, left_out.config, left_out.fidelity)
    x, o = left_out.with_features, left_out.without_features
    scores, recorded, behind = table.scores[at], means[at], counts[at]
    # What separates the good from the best decides; the bad need only be known as bad.
    emphasis = np.sqrt(0.1 + 1.0 / (1.0 + np.exp(-1.7 * scores)))
    strength = _PRIOR_STRENGTH / len(table.task_ids)
    run = (behind > 0) & ~left_out.is_fresh
    columns = np.stack([x, o, _drawn_record(o, recorded, behind)], axis=1) * emphasis[:, None]
    targets = scores * emphasis
    seen = nonnegative_weights(columns[run], targets[run], _RECORD_ONLY, strength=strength)
    alone = left_out.is_fresh
    fresh = nonnegative_weights(columns[alone, :2], targets[alone], _HALF_OF_UNKNOWN, strength=strength)
    deviations = np.full(table.scores.shape, np.nan)
    deviations[at] = scores - _blended(seen, fresh, x, o, recorded, behind)
    if len(table.task_ids) == 1:
        deviations[table.is_run] = 0.0  # one task has nothing to deviate from
    return Blend(seen=seen, fresh=fresh, deviations=deviations)


def carried_deviations(deviations: Array, distances: Array) -> Array:
    """Tell how other configs would have deviated on each past task, from the similar ones that it ran.

    Args:
        deviations: Shape ``(T, C, F)``; NaN where not run.
        distances: From the other configs to the C configs, shape ``(P, C)``.

    Returns:
        Shape ``(T, P, F)``; drawn towards 0 where no similar config was run.
    """
    kernel = np.exp(-((distances / _SIMILAR) ** 2))
    known = ~np.isnan(deviations)
    sums = np.einsum("pc,tcf->tpf", kernel, np.where(known, deviations, 0.0), optimize=True)
    held = np.einsum("pc,tcf->tpf", kernel, known.astype(float), optimize=True)
    return np.asarray(sums / (held + 1.0))


def _blended(seen: Array, fresh: Array, x: Array, o: Array, means: Array, counts: Array) -> Array:
    record = _drawn_record(o, means, counts)
    run = seen[0] * x + seen[1] * o + seen[2] * record
    return np.asarray(np.where(counts > 0, run, fresh[0] * x + fresh[1] * o))


def _drawn_record(o: Array, means: Array, counts: Array) -> Array:
    return np.asarray((counts * means + _PSEUDO_TASKS * o) / (counts + _PSEUDO_TASKS))
