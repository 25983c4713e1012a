"""Expected improvement, on the log scale so that no candidate's is lost to underflow."""

import numpy as np
import torch

from surrogates.data.normalisation import Array

_TAIL = -6.0
"""Below so many deviations an expansion stands for the difference of two nearly equal numbers."""
_HALF_LOG_TAU = 0.5 * float(np.log(2.0 * np.pi))


def log_expected_improvement(mean: Array, deviation: Array, best: Array) -> Array:
    """Return the logarithm of the expected improvement of normal scores on the best.

    Args:
        mean: Shape ``(P,)``.
        deviation: Positive, shape ``(P,)``.
        best: Highest score so far, shape ``(P,)``.

    Returns:
        Shape ``(P,)``, finite; rises with the mean and, below the best, with the deviation.
    """
    z = (mean - best) / deviation
    log_density = -0.5 * z**2 - _HALF_LOG_TAU
    near = np.maximum(z, _TAIL)
    share = torch.special.ndtr(torch.from_numpy(near)).numpy()
    direct = np.log(np.exp(-0.5 * near**2 - _HALF_LOG_TAU) + near * share)
    far = np.minimum(z, _TAIL)
    expansion = log_density - 2.0 * np.log(-far) + np.log1p(-3.0 / far**2 + 15.0 / far**4)
    return np.asarray(np.log(deviation) + np.where(z > _TAIL, direct, expansion))
