"""Quick-Tune's surrogates on torch and gpytorch: a deep-kernel Gaussian process and a network for cost.

``methods.QuickTune`` is what a comparison takes; importing it costs neither torch nor gpytorch.
"""

__all__ = ["MOST_STEPS"]

MOST_STEPS = 300
"""Of the optimiser in meta-training."""
