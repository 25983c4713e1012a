"""What every performance model answers: a belief about scores at every fidelity, curve prefixes allowed.

| symbol | meaning |
|---|---|
| P, D | configs asked about, columns of an encoded config |
| T, M | past tasks, columns of encoded meta-features |
| F | fidelities of the score table |
| prefix | scores that a config already has on the new task; NaN where it was not run so far |
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from orchestrator.contracts import InputError
from surrogates.data.normalisation import Array
from surrogates.data.score_table import ScoreTable
from surrogates.models.performance import PerformanceModel

LEAST_DEVIATION = 1e-3
"""Deviation of a score that was observed, and the smallest of any."""
_PSEUDO_ERRORS = 10.0
"""The prior of the errors' covariance counts as so many errors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Belief:
    """Normal distributions of scores, in the score table's units."""

    mean: Array
    """Shape ``(P, F)``."""
    deviation: Array
    """Standard deviation of a single score, noise included; at least ``LEAST_DEVIATION``; ``(P, F)``."""


class BeliefModel(Protocol):
    """A fitted performance model. It is never changed by a question."""

    def predict(self, configs: Array, features: Array | None, *, prefixes: Array | None = None) -> Belief:
        """Tell the scores of configs at every fidelity.

        Args:
            configs: Encoded configs, shape ``(P, D)``.
            features: The task's encoded meta-features, NaN where missing, shape ``(M,)``; None for an
                unknown task.
            prefixes: Scores observed on the new task, shape ``(P, F)``; NaN where not observed; None: nothing
                was run.

        Returns:
            The belief; an observed score is told back as it is.

        Raises:
            InputError: The prefixes have another shape than configs and fidelities ask for.
        """
        ...


class BeliefFit(Protocol):
    """Learns a performance model from past tasks."""

    def __call__(self, configs: Array, features: Array, table: ScoreTable, *, seed: int) -> BeliefModel:
        """Fit.

        Args:
            configs: Encoded configs, shape ``(C, D)``.
            features: Encoded meta-features, shape ``(T, M)``.
            table: What was measured.
            seed: The same seed and data give the same beliefs.

        Returns:
            The model.
        """
        ...


def checked_prefixes(prefixes: Array | None, count: int, fidelities: int) -> Array:
    """Return the prefixes, NaN throughout where there are none.

    Args:
        prefixes: As asked; None: nothing was run.
        count: Configs asked about.
        fidelities: Fidelities of the table.

    Returns:
        Shape ``(count, fidelities)``.

    Raises:
        InputError: They have another shape.
    """
    if prefixes is None:
        return np.full((count, fidelities), np.nan)
    if prefixes.shape != (count, fidelities):
        raise InputError(
            f"prefixes have shape {prefixes.shape}, but {count} configs and {fidelities} fidelities are "
            "asked about; give a row a config and a column a fidelity, NaN where nothing was observed"
        )
    return prefixes


def told_back(mean: Array, deviation: Array, prefixes: Array) -> Belief:
    """Return the belief in which every observed score is certain; all arrays of shape ``(P, F)``."""
    observed = ~np.isnan(prefixes)
    return Belief(
        mean=np.where(observed, prefixes, mean),
        deviation=np.where(observed, LEAST_DEVIATION, np.maximum(deviation, LEAST_DEVIATION)),
    )


class BoostedBeliefs:
    """The trees' predictions, as uncertain as their errors were on the tasks left out.

    The errors of one trial at all fidelities are taken as jointly normal, so that a prefix, which shows the
    errors so far, moves and narrows what is told of later fidelities.

    Args:
        configs: Encoded configs, shape ``(C, D)``.
        features: Encoded meta-features, shape ``(T, M)``.
        table: What was measured.
        seed: Of the trees.
    """

    def __init__(self, configs: Array, features: Array, table: ScoreTable, *, seed: int) -> None:
        self._model = PerformanceModel(configs, features, table, seed=seed)
        left_out = self._model.left_out
        at = (left_out.task, left_out.config, left_out.fidelity)
        self._known, self._unknown = (
            _error_covariance(at, table.scores[at] - told, table)
            for told in (left_out.with_features, left_out.without_features)
        )

    def predict(self, configs: Array, features: Array | None, *, prefixes: Array | None = None) -> Belief:
        """Tell the scores of configs at every fidelity; see ``BeliefModel.predict``.

        Args:
            configs: Encoded configs, shape ``(P, D)``.
            features: The task's, shape ``(M,)``; None for an unknown task.
            prefixes: Observed scores, shape ``(P, F)``, NaN where not observed; None: nothing was run.

        Returns:
            The belief.

        Raises:
            InputError: The prefixes have another shape.
        """
        covariance = self._unknown if features is None else self._known
        seen = checked_prefixes(prefixes, len(configs), len(covariance))
        mean = self._model.predict(configs, features)
        deviation = np.tile(np.sqrt(np.diag(covariance)), (len(configs), 1))
        patterns, group = np.unique(~np.isnan(seen), axis=0, return_inverse=True)
        for number, observed in enumerate(patterns):
            if not observed.any():
                continue
            rows = np.flatnonzero(group.reshape(-1) == number)
            gain = np.linalg.solve(covariance[np.ix_(observed, observed)], covariance[observed]).T
            errors = seen[np.ix_(rows, observed)] - mean[np.ix_(rows, observed)]
            left = np.diag(covariance) - np.einsum("fo,of->f", gain, covariance[observed])
            mean[rows] += errors @ gain.T
            deviation[rows] = np.sqrt(np.maximum(left, 0.0))
        return told_back(mean, deviation, seen)


def _error_covariance(at: tuple[NDArray[np.int64], ...], errors: Array, table: ScoreTable) -> Array:
    """Return the covariance of one trial's errors between fidelities, shape ``(F, F)``."""
    matrix = np.full(table.scores.shape, np.nan)
    matrix[at] = errors
    rows = matrix.reshape(-1, len(table.epochs))
    known = (~np.isnan(rows)).astype(float)
    filled = np.nan_to_num(rows, nan=0.0)
    counts = known.T @ known
    variance = float(np.mean(errors**2)) if errors.size else 1.0  # scores have about unit variance
    doublings = np.log2(table.epochs.astype(float))
    prior = variance * np.exp(-0.5 * np.abs(doublings[:, None] - doublings[None, :]))
    estimate = (filled.T @ filled + _PSEUDO_ERRORS * prior) / (counts + _PSEUDO_ERRORS)
    # Entries rest on different trials: together they need not be a covariance, so the nearest one is taken.
    values, vectors = np.linalg.eigh(estimate)
    return np.asarray((vectors * np.maximum(values, LEAST_DEVIATION**2)) @ vectors.T)
