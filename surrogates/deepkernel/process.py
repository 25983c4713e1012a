"""The Gaussian process over the extractor's points: its likelihood, and its posterior given examples."""

import math
from dataclasses import dataclass

import gpytorch
import torch
from linear_operator.utils.cholesky import psd_safe_cholesky
from torch import nn

from surrogates.deepkernel.inputs import DTYPE, Inputs
from surrogates.deepkernel.network import Extractor

_LEAST_NOISE = 1e-4
_FIRST_NOISE = 0.2


class DeepKernelProcess(nn.Module):
    """Constant mean, scaled RBF kernel with one lengthscale, noise by prefix length and fidelity.

    Args:
        config_width: Columns of the configs.
        feature_width: Columns of the meta-features.
        fidelities: How many there are.
    """

    def __init__(self, config_width: int, feature_width: int, fidelities: int) -> None:
        super().__init__()
        self.extractor = Extractor(config_width, feature_width, fidelities)
        self.mean = gpytorch.means.ConstantMean().to("cpu", DTYPE)
        self.kernel = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel()).to("cpu", DTYPE)
        zeros = torch.zeros(fidelities + 1, dtype=DTYPE, device="cpu")
        self.noise_by_length = nn.Parameter(zeros + math.log(_FIRST_NOISE))
        self.noise_by_fidelity = nn.Parameter(zeros[1:].clone())

    def noise(self, inputs: Inputs) -> torch.Tensor:
        """Return the variance of a single score around the process, shape ``(n,)``."""
        logs = self.noise_by_length[inputs.length] + self.noise_by_fidelity[inputs.place]
        return _LEAST_NOISE + torch.exp(logs)

    def log_likelihood(self, inputs: Inputs, scores: torch.Tensor) -> torch.Tensor:
        """Return the exact marginal log-likelihood of these examples alone, an example; a scalar.

        Args:
            inputs: n examples.
            scores: Their scores, shape ``(n,)``.

        Returns:
            Nats an example.
        """
        points = self.extractor(inputs)
        covariance = self.kernel(points).to_dense() + torch.diag(self.noise(inputs))
        prior = gpytorch.distributions.MultivariateNormal(self.mean(points), covariance)
        with gpytorch.settings.max_cholesky_size(len(inputs) + 1):  # exact at any size
            total: torch.Tensor = prior.log_prob(scores)
        return total / len(inputs)

    @torch.no_grad()
    def given(self, inputs: Inputs, scores: torch.Tensor) -> "Posterior":
        """Return the process conditioned on examples.

        Args:
            inputs: n examples.
            scores: Their scores, shape ``(n,)``.

        Returns:
            The posterior; later changes of the weights must not happen.
        """
        points = self.extractor(inputs)
        covariance = self.kernel(points).to_dense() + torch.diag(self.noise(inputs))
        root: torch.Tensor = psd_safe_cholesky(covariance)
        weights = torch.cholesky_solve((scores - self.mean(points))[:, None], root)[:, 0]
        return Posterior(self, points, root, weights)


@dataclass(frozen=True, slots=True)
class Posterior:
    """A process that has seen n examples."""

    process: DeepKernelProcess
    points: torch.Tensor
    root: torch.Tensor
    """Lower Cholesky factor of their covariance, shape ``(n, n)``."""
    weights: torch.Tensor
    """Covariance's inverse times the scores' distance to the mean, shape ``(n,)``."""

    @torch.no_grad()
    def predict(self, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and variance of the scores asked for, noise included; shape ``(m,)`` each."""
        points = self.process.extractor(inputs)
        across = self.process.kernel(self.points, points).to_dense()
        mean = self.process.mean(points) + across.T @ self.weights
        told = torch.linalg.solve_triangular(self.root, across, upper=False)
        prior = self.process.kernel(points, diag=True)
        variance = (prior - (told**2).sum(dim=0)).clamp_min(0.0) + self.process.noise(inputs)
        return mean, variance
