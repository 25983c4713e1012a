"""The networks' blocks, and the extractor that turns a question into a point of the kernel's space."""

from typing import cast

import torch
from torch import nn

from surrogates.deepkernel.inputs import DTYPE, Inputs

_HIDDEN = 128
_BOTTLENECK = 8
_CONFIG_WIDTH, _FEATURE_WIDTH, _CURVE_WIDTH = 32, 32, 16
_POINT_WIDTH = 32


class Block(nn.Module):
    """Two hidden layers, a narrow layer of unit length, and a linear map to the output.

    Args:
        inputs: Columns that come in; at least 1.
        outputs: Columns that go out.
        activation: After each hidden layer.
    """

    def __init__(self, inputs: int, outputs: int, activation: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.hidden = nn.Sequential(
            _linear(inputs, _HIDDEN),
            activation(),
            _linear(_HIDDEN, _HIDDEN),
            activation(),
            _linear(_HIDDEN, _BOTTLENECK),
        )
        self.out = _linear(_BOTTLENECK, outputs)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Map; shape ``(n, inputs)`` to ``(n, outputs)``."""
        return cast("torch.Tensor", self.out(nn.functional.normalize(self.hidden(values), dim=1)))


class Extractor(nn.Module):
    """A block for the config, one for the meta-features, one for the prefix; a last one joins them.

    Args:
        config_width: Columns of the configs; 0 where all are alike.
        feature_width: Columns of the meta-features; 0 where there are none.
        fidelities: How many there are.
    """

    def __init__(self, config_width: int, feature_width: int, fidelities: int) -> None:
        super().__init__()
        self.config = Block(config_width, _CONFIG_WIDTH) if config_width else None
        self.feature = Block(feature_width, _FEATURE_WIDTH) if feature_width else None
        self.curve = Block(2 * fidelities, _CURVE_WIDTH)
        joined = _CURVE_WIDTH + 1
        joined += _CONFIG_WIDTH if config_width else 0
        joined += _FEATURE_WIDTH if feature_width else 0
        self.join = Block(joined, _POINT_WIDTH, nn.GELU)

    def forward(self, inputs: Inputs) -> torch.Tensor:
        """Extract; shape ``(n, 32)``."""
        parts = [self.curve(inputs.curves), inputs.fidelities]
        if self.config is not None:
            parts.append(self.config(inputs.configs))
        if self.feature is not None:
            parts.append(self.feature(inputs.features))
        return cast("torch.Tensor", self.join(torch.cat(parts, dim=1)))


def _linear(inputs: int, outputs: int) -> nn.Linear:
    return nn.Linear(inputs, outputs, device="cpu", dtype=DTYPE)
