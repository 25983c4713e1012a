"""How past tasks deviated from what was predicted of them, carried over to configs that they did not run."""

from collections.abc import Sequence

import numpy as np

from surrogates.data.normalisation import Array

_RATIOS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Variances of what is a single run's own, tried as multiples of what similar configs share."""


def carried_deviations(deviations: Array, kernel: Array, across: Array) -> Array:
    """Tell how other configs would have deviated on each past task, from the similar ones that it ran.

    What similar configs share is told apart from what is a single run's own by the likelihood of all
    deviations at the last fidelity; only the first carries over (kriging).

    Args:
        deviations: Shape ``(T, C, F)``; NaN where not run.
        kernel: Likeness of the C configs, shape ``(C, C)``.
        across: Likeness of the other configs to them, shape ``(P, C)``.

    Returns:
        Shape ``(T, P, F)``; drawn towards 0 where no similar config was run.
    """
    run = np.asarray(~np.isnan(deviations).any(axis=2))
    places = [np.flatnonzero(run[task]) for task in range(len(run))]
    spectra = [_spectrum(kernel[np.ix_(rows, rows)]) for rows in places]
    finals = [deviations[task, rows, -1] for task, rows in enumerate(places)]
    ratio = min(_RATIOS, key=lambda tried: _surprise(spectra, finals, tried))
    carried = np.zeros((len(deviations), len(across), deviations.shape[2]))
    for task, ((values, vectors), rows) in enumerate(zip(spectra, places, strict=True)):
        solved = vectors @ ((vectors.T @ deviations[task, rows]) / (values + ratio)[:, None])
        carried[task] = across[:, rows] @ solved
    return carried


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
