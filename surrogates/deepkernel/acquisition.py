"""Expected improvement, on the log scale so that no candidate's is lost to underflow."""

import numpy as np
import torch

from surrogates.data.normalisation import Array

_NEAR, _FAR = -1.0, -1e3
"""Above the first, plain numbers do; below the second, an expansion to the fourth order is exact."""
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
    near = np.maximum(z, _NEAR)
    share = torch.special.ndtr(torch.from_numpy(near)).numpy()
    direct = np.log(np.exp(-0.5 * near**2 - _HALF_LOG_TAU) + near * share)
    middle = np.clip(z, _FAR, _NEAR)
    # The distribution over the density, which neither of them can give where both underflow.
    scaled = torch.special.erfcx(torch.from_numpy(-middle / np.sqrt(2.0))).numpy()
    ratio = np.sqrt(0.5 * np.pi) * scaled
    between = log_density + np.log1p(middle * ratio)
    far = np.minimum(z, _FAR)
    expansion = log_density - 2.0 * np.log(-far) + np.log1p(-3.0 / far**2 + 15.0 / far**4)
    tail = np.where(z > _FAR, between, expansion)
    return np.asarray(np.log(deviation) + np.where(z > _NEAR, direct, tail))
