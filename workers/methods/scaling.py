"""The forward pass of (IA)^3: PEFT's own leaves float32 behind in a quantised model of bfloat16.

Notation: ``l`` the learned vector; ``x`` a layer's input, ``y(x)`` its frozen output. The result is
``y(l x)`` where inputs are scaled, else ``l y(x)``.
"""

from typing import Any

import torch
from peft import PeftModel
from peft.tuners.ia3 import IA3Layer


class ScaledForward:
    """What a PEFT (IA)^3 layer does instead of its own ``forward``."""

    def __init__(self, base_layer: torch.nn.Module, vector: torch.nn.Parameter, *, of_inputs: bool) -> None:
        self._base_layer = base_layer
        self._vector = vector
        self._of_inputs = of_inputs

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return the scaled layer's output; products are in the vector's type, results in their input's."""
        vector = self._vector.flatten()
        if self._of_inputs:
            result: torch.Tensor = self._base_layer((x * vector).to(x.dtype))
            return result
        y: torch.Tensor = self._base_layer(x)
        return (y * vector).to(y.dtype)


def replace_scaled_forwards(peft_model: PeftModel, adapter: str) -> None:
    """Let (IA)^3's layers compute their products our way, in whatever type the model is."""
    modules: Any = peft_model.modules()
    for module in modules:
        if isinstance(module, IA3Layer):
            module.forward = ScaledForward(
                module.base_layer, module.ia3_l[adapter], of_inputs=module.is_feedforward
            )
