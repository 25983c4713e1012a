"""The forward pass of one LoRA layer: PEFT's sum in fewer passes over memory, with keyed dropout.

Notation: ``x`` the layer's input, shape ``(..., in)``; ``y`` the frozen layer's output, shape ``(..., out)``;
``A`` of shape ``(r, in)`` and ``B`` of shape ``(out, r)`` the adapter; ``s`` its scale; ``m`` the dropout
mask, 0 or 1 / (1 - p). The result is ``y + s B A (m x)``.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch

from workers.training.keys import keyed_seed

MERGE_BELOW_WEIGHTS = 50_000_000
"""Adapted weights up to which adapters are merged for evaluation, which holds a second copy meanwhile."""


@dataclass(slots=True)
class DropoutClock:
    """Where in its training a trial is: the key of the next dropout masks."""

    trial_id: str
    step: int = 0
    micro_batch: int = 0


def dropout_mask(shape: tuple[int, ...], probability: float, seed: int, like: torch.Tensor) -> torch.Tensor:
    """Draw what dropout multiplies values by.

    Args:
        shape: Of the values.
        probability: Of a value being dropped; rounded to a 65,536th on a CPU.
        seed: Decides everything.
        like: Its device and type are the mask's; CPUs and GPUs draw different masks.

    Returns:
        0 where a value is dropped, 1 / (1 - probability) elsewhere.
    """
    if like.device.type != "cpu":
        generator = torch.Generator(device=like.device).manual_seed(seed)
        kept = torch.rand(shape, generator=generator, device=like.device) >= probability
        return kept.to(like.dtype).div_(1.0 - probability)
    # Four draws from each raw word, and no boolean tensor: a tenth of the time of torch's own generator.
    count = prod(shape)
    words = np.random.SFC64(seed).random_raw(-(-count // 4))
    kept_here = (words.view(np.uint16)[:count] >= round(probability * 65536)).astype(np.float32)
    return torch.from_numpy(kept_here).to(like.dtype).div_(1.0 - probability).view(shape)


class LoraSum(torch.autograd.Function):
    """``y + s B A (m x)`` on matrices, a row a place.

    What it returns is no view, so that architectures may add to it in place, as Falcon's does.
    """

    @staticmethod
    def forward(
        ctx: Any,
        y: torch.Tensor,
        x: torch.Tensor,
        a: torch.Tensor,
        b: torch.Tensor,
        mask: torch.Tensor | None,
        scale: float,
    ) -> torch.Tensor:
        """Return the sum, in ``y``'s type; the adapter's part is computed in the adapter's."""
        rows = x.to(a.dtype)
        if mask is not None:
            rows = rows * mask.view(rows.shape)
        low = rows @ a.t()
        ctx.save_for_backward(rows, low, a, b, mask)
        ctx.scale = scale
        return torch.addmm(y.to(a.dtype), low, b.t(), alpha=scale).to(y.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients of ``y``, ``x``, ``a`` and ``b``."""
        (gradient,) = gradients
        rows, low, a, b, mask = ctx.saved_tensors
        outer = gradient.to(a.dtype)
        inner = (outer @ b).mul_(ctx.scale)
        for_b = (outer.t() @ low).mul_(ctx.scale)
        for_a = inner.t() @ rows
        for_x = None
        if ctx.needs_input_grad[1]:
            for_x = inner @ a
            if mask is not None:
                for_x.mul_(mask.view(for_x.shape))
            for_x = for_x.to(gradient.dtype)
        return gradient, for_x, for_a, for_b, None, None


def lora_sum(
    y: torch.Tensor,
    x: torch.Tensor,
    a: torch.Tensor,
    b: torch.Tensor,
    mask: torch.Tensor | None,
    scale: float,
) -> torch.Tensor:
    """Return ``y + s B A (m x)``, differentiable."""
    rows, flat = x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1])
    total: torch.Tensor = LoraSum.apply(flat, rows, a, b, mask, scale)  # type: ignore[no-untyped-call]
    return total.view(y.shape)


class LoraForward:
    """What a PEFT LoRA layer does instead of its own ``forward``.

    It holds the layer's parts and not the layer, so that a dropped model is freed at once.
    """

    def __init__(
        self,
        base_layer: torch.nn.Linear,
        a: torch.nn.Parameter,
        b: torch.nn.Parameter,
        *,
        scale: float,
        dropout: float,
        name: str,
        clock: DropoutClock,
    ) -> None:
        self._base_layer = base_layer
        self._a, self._b = a, b
        self.scale = scale
        self._dropout = dropout
        self._name = name
        self._clock = clock
        self._merged: torch.Tensor | None = None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return the adapted layer's output."""
        if self._merged is not None:
            return torch.nn.functional.linear(x, self._merged, self._base_layer.bias)
        mask = None
        if self._dropout > 0 and self._base_layer.training:
            clock = self._clock
            seed = keyed_seed(clock.trial_id, "dropout", clock.step, clock.micro_batch, self._name)
            mask = dropout_mask(tuple(x.shape), self._dropout, seed, like=self._a)
        return lora_sum(self._base_layer(x), x, self._a, self._b, mask, self.scale)

    @property
    def mergeable_weights(self) -> int | None:
        """Weights of the frozen layer; None where they are quantised or too coarse to add to."""
        weight = self._base_layer.weight
        is_plain = type(self._base_layer) is torch.nn.Linear and weight.dtype == torch.float32
        return weight.numel() if is_plain else None

    @torch.no_grad()
    def merge(self) -> None:
        """Use one matrix for frozen layer and adapter until ``unmerge``; the frozen one is not touched."""
        self._merged = torch.addmm(self._base_layer.weight, self._b, self._a, alpha=self.scale)

    def unmerge(self) -> None:
        """Go back to the frozen layer and the adapter beside it."""
        self._merged = None


@contextmanager
def merged(layers: list[LoraForward]) -> Iterator[None]:
    """Evaluate with merged weights while the scope lasts, where the model is small and in float32."""
    sizes = [layer.mergeable_weights for layer in layers]
    if any(size is None for size in sizes) or sum(size or 0 for size in sizes) > MERGE_BELOW_WEIGHTS:
        yield
        return
    for layer in layers:
        layer.merge()
    try:
        yield
    finally:
        for layer in layers:
            layer.unmerge()
