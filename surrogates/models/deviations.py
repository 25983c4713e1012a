"""How past tasks deviated from what was predicted of them, carried over to configs that they did not run."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from surrogates.data.normalisation import Array

_RATIOS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Variances of what is a single run's own, tried as multiples of what similar configs share."""


@dataclass(frozen=True, slots=True)
class Carrier:
    """What every past task's runs say of other configs; build it once with ``fitted``, ask it of many."""

    solved: Array
    """Weights of the runs, 0 where not run, shape ``(T, C, F)``."""

    @classmethod
    def fitted(cls, deviations: Array, kernel: Array) -> "Carrier":
        """Tell what similar configs share from what is a single run's own.

        The likelihood of all deviations at the last fidelity tells them apart; only the first carries over
        (kriging).

        Args:
            deviations: Shape ``(T, C, F)``; NaN where not run.
            kernel: Likeness of the C configs, shape ``(C, C)``.

        Returns:
            The carrier.
        """
        run = np.asarray(~np.isnan(deviations).any(axis=2))
        places = [np.flatnonzero(run[task]) for task in range(len(run))]
        spectra = [_spectrum(kernel[np.ix_(rows, rows)]) for rows in places]
        finals = [deviations[task, rows, -1] for task, rows in enumerate(places)]
        ratio = min(_RATIOS, key=lambda tried: _surprise(spectra, finals, tried))
        solved = np.zeros(deviations.shape)
        for task, ((values, vectors), rows) in enumerate(zip(spectra, places, strict=True)):
            weighed = (vectors.T @ deviations[task, rows]) / (values + ratio)[:, None]
            solved[task, rows] = vectors @ weighed
        return cls(solved)

    def to(self, across: Array) -> Array:
        """Tell how other configs would have deviated on each past task.

        Args:
            across: Likeness of the other configs to the C configs, shape ``(P, C)``.

        Returns:
            Shape ``(T, P, F)``; drawn towards 0 where no similar config was run.
        """
        return np.asarray(across @ self.solved)


def _spectrum(kernel: Array) -> tuple[Array, Array]:
    """Return eigenvalues and eigenvectors."""
    values, vectors = np.linalg.eigh(kernel)
    return np.asarray(values, dtype=np.float64), np.asarray(vectors, dtype=np.float64)


def _surprise(spectra: Sequence[tuple[Array, Array]], finals: Sequence[Array], ratio: float) -> float:
    """Return minus the log likelihood of the deviations, their scale profiled out."""
    fits = logs = 0.0
    count = 0
    for (values, vectors), final in zip(spectra, finals, strict=True):
        fits += float(((vectors.T @ final) ** 2 / (values + ratio)).sum())
        logs += float(np.log(values + ratio).sum())
        count += len(final)
    return float(0.5 * (count * np.log(max(fits, 1e-300) / max(count, 1)) + logs))
