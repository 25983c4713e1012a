"""What a kernel model has to learn before it can predict: how fast scores change along every name.

Covariance of config c on task t with config c' on task t':

    k(c, c')·(shared + by_features·κ(t, t') + own·[t = t']) + per_config·[c = c'] + noise·[both]

with k a Matérn kernel (5/2) over the configs' names and κ a Gaussian one over the tasks' meta-features, each
with a learned scale a column. The scale of a meta-feature that tells nothing grows until it is not heard;
where none tells anything ``by_features`` shrinks. All are chosen together, by the marginal likelihood of the
recorded scores (Rasmussen and Williams, 2006, ch. 5) under weak priors. Rows share configs and tasks: what
only these determine is worked out once for each pair of them, not of rows.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_solve, cholesky
from scipy.linalg.lapack import dpotri
from scipy.optimize import minimize

from surrogates.data.normalisation import Array

JITTER = 1e-6
"""Share of the scores' variance that is added to the noise."""
_FEWEST_TASKS = 4
"""Below this many tasks nothing can be learned from their meta-features."""
_VARIANCES = 5
_PRIOR_VARIANCES = np.log([0.5, 0.05, 0.2, 0.02, 0.1])
"""Of shared, by_features, own, per_config and noise, as shares of the scores' variance."""
_PRIOR_FEATURE_SCALE = np.log(3.0)
"""Meta-features are z-scores: a past task has to be three spreads away to be half forgotten."""
_PRIOR_SPREADS = (1.0, 1.5, 1.0)
"""Standard deviations, in log units, of the priors on config scales, variances and feature scales."""
_BOUNDS = ((-3.0, 4.0), (-12.0, 4.0), (-1.5, 5.0))
_MOST_STEPS = 40
_IMPOSSIBLE = 1e10


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelParameters:
    """Learned parameters of the covariance."""

    config_scales: Array
    """One a name, in units of its range; shape ``(P,)``."""
    feature_scales: Array
    """One a meta-feature, in z-scores; shape ``(M,)``."""
    shared: float
    by_features: float
    own: float
    per_config: float
    noise: float

    def task_likeness(self, left: Array, right: Array) -> Array:
        """Return κ between tasks.

        Args:
            left: Encoded meta-features without NaN, shape ``(n, M)``.
            right: The same, shape ``(m, M)``.

        Returns:
            Shape ``(n, m)``; 1 for tasks that are alike in everything that matters.
        """
        apart = (left[:, None, :] - right[None, :, :]) / self.feature_scales
        return np.asarray(np.exp(-0.5 * (apart**2).sum(axis=2)))


def matern(squares: Array) -> tuple[Array, Array]:
    """Return the Matérn kernel (5/2) at squared scaled distances, and its derivative by them."""
    scaled = np.sqrt(5.0 * np.maximum(squares, 1e-12))
    falling = np.exp(-scaled)
    return (1.0 + scaled + scaled**2 / 3.0) * falling, -(5.0 / 6.0) * (1.0 + scaled) * falling


def inverse_of(factor: Array) -> Array:
    """Return the inverse of a symmetric matrix, from its lower Cholesky factor with zeros above.

    It takes a third of the arithmetic of solving for the columns of the identity.
    """
    below, failed = dpotri(factor, lower=True)
    if failed:
        raise LinAlgError(f"a Cholesky factor can't be inverted (dpotri: {failed})")
    inverse = below + below.T
    np.einsum("ii->i", inverse)[:] *= 0.5
    return np.asarray(inverse, dtype=np.float64)


def learn_parameters(
    differences: Array, features: Array, tasks: NDArray[np.int64], configs: NDArray[np.int64], scores: Array
) -> KernelParameters:
    """Choose the parameters with the highest marginal likelihood.

    Args:
        differences: Squared differences of configs by name, shape ``(P, C, C)``.
        features: Encoded meta-features of all tasks without NaN, shape ``(T, M)``.
        tasks: Each row's task, shape ``(n,)``.
        configs: Each row's config, of which every one has a row, shape ``(n,)``.
        scores: Centred scores, a column a fidelity, shape ``(n, F)``.

    Returns:
        The parameters, in the scores' units.
    """
    variance = float(scores.var(axis=0).mean()) + 1e-9
    likelihood = _MarginalLikelihood(differences, features, tasks, configs, scores / np.sqrt(variance))
    found = minimize(
        likelihood,
        likelihood.start,
        jac=True,
        method="L-BFGS-B",
        bounds=likelihood.bounds,
        options={"maxiter": _MOST_STEPS},
    )
    config_scales, variances, feature_scales = likelihood.split(np.exp(found.x))
    shared, by_features, own, per_config, noise = (float(value) * variance for value in variances)
    return KernelParameters(
        config_scales=config_scales,
        feature_scales=feature_scales,
        shared=shared,
        by_features=by_features if likelihood.hears_features else 0.0,
        own=own,
        per_config=per_config,
        noise=noise + JITTER * variance,
    )


class _MarginalLikelihood:
    """Minus the log of the likelihood and priors, with its gradient, of the logarithms of all parameters."""

    def __init__(
        self,
        differences: Array,
        features: Array,
        tasks: NDArray[np.int64],
        configs: NDArray[np.int64],
        scores: Array,
    ) -> None:
        self._names = len(differences)
        self._differences = differences
        order = np.argsort(configs, kind="stable")  # rows of one config lie side by side, to be summed
        self._tasks, self._configs, self._scores = tasks[order], configs[order], scores[order]
        self._starts = np.searchsorted(self._configs, np.arange(differences.shape[1]))
        self._is_of = (self._tasks[None, :] == np.arange(len(features))[:, None]).astype(float)
        self._same_config = (self._configs[:, None] == self._configs[None, :]).astype(float)
        self.hears_features = features.shape[1] > 0 and len(features) >= _FEWEST_TASKS
        heard = features if self.hears_features else np.zeros_like(features)
        self._apart = (heard.T[:, :, None] - heard.T[:, None, :]) ** 2
        counts = (self._names, _VARIANCES, features.shape[1])
        centres = (np.zeros(counts[0]), _PRIOR_VARIANCES, np.full(counts[2], _PRIOR_FEATURE_SCALE))
        self.start = np.concatenate(centres)
        self._spreads = np.repeat(_PRIOR_SPREADS, counts)
        self.bounds = [bound for bound, count in zip(_BOUNDS, counts, strict=True) for _ in range(count)]

    def split(self, values: Array) -> tuple[Array, Array, Array]:
        """Return the config scales, the variances and the feature scales."""
        end = self._names + _VARIANCES
        return values[: self._names], values[self._names : end], values[end:]

    def __call__(self, logs: Array) -> tuple[float, Array]:
        """Return the value and the gradient, shape of the logarithms."""
        scales, variances, feature_scales = self.split(np.exp(logs))
        shared, by_features, own, per_config, noise = variances
        alike, slope = matern(np.tensordot(scales**-2.0, self._differences, axes=1))
        likeness = np.zeros(self._apart.shape[1:])
        if self.hears_features:
            likeness = np.exp(-0.5 * np.tensordot(feature_scales**-2.0, self._apart, axes=1))
        between = shared + by_features * likeness + own * np.eye(len(likeness))
        weights = between[np.ix_(self._tasks, self._tasks)]
        kernel = alike[np.ix_(self._configs, self._configs)]
        fidelities = self._scores.shape[1]
        covariance = kernel * weights + per_config * self._same_config
        np.einsum("ii->i", covariance)[:] += noise + JITTER
        try:
            factor = cholesky(covariance, lower=True)
        except LinAlgError:
            return _IMPOSSIBLE, np.zeros_like(logs)
        solved = cho_solve((factor, True), self._scores)
        value = 0.5 * float((self._scores * solved).sum()) / fidelities + float(np.log(np.diag(factor)).sum())

        inner = 0.5 * (inverse_of(factor) - solved @ solved.T / fidelities)
        by_kernel = self._summed_by_tasks(inner * kernel)
        gradient = np.zeros_like(logs)
        at_scales, at_variances, at_features = self.split(gradient)  # views
        flat = (self._summed_by_configs(inner * weights) * slope).ravel()
        at_scales[:] = -2.0 * scales**-2.0 * (self._differences.reshape(self._names, -1) @ flat)
        at_variances[0] = shared * by_kernel.sum()
        at_variances[2] = own * np.trace(by_kernel)
        at_variances[3] = per_config * (inner * self._same_config).sum()
        at_variances[4] = noise * np.trace(inner)
        if self.hears_features:
            told = by_features * by_kernel * likeness
            at_variances[1] = told.sum()
            at_features[:] = feature_scales**-2.0 * (self._apart.reshape(len(at_features), -1) @ told.ravel())
        offsets = (logs - self.start) / self._spreads
        return value + 0.5 * float(offsets @ offsets), gradient + offsets / self._spreads

    def _summed_by_configs(self, pairs: Array) -> Array:
        """Return the sums over all pairs of rows of two configs, shape ``(C, C)`` from ``(n, n)``."""
        return np.asarray(np.add.reduceat(np.add.reduceat(pairs, self._starts, axis=0), self._starts, axis=1))

    def _summed_by_tasks(self, pairs: Array) -> Array:
        """Return the sums over all pairs of rows of two tasks, shape ``(T, T)`` from ``(n, n)``."""
        return np.asarray(self._is_of @ pairs @ self._is_of.T)
