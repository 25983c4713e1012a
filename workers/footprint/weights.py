"""Bytes of a frozen base by precision, and of an optimizer's state.

bitsandbytes quantises linear layers. What stays as it is: embeddings, norms and biases, the head, and what
the architecture asks to be kept whole, as T5 does for the last layer of its MLPs.
"""

from collections.abc import Mapping
from math import ceil, prod

from workers.footprint.trained import TRAINED_BYTES, Layers, Shape, size
from workers.models.facts import ModelFacts

ELEMENT_BYTES: Mapping[str, int] = {"float32": 4, "bfloat16": 2}
"""Of an activation and of an unquantised weight, by compute type."""

_NF4_BLOCK = 64
"""Weights with a scale of their own, which is an 8-bit number."""
_NF4_OUTER_BLOCK = 256
"""Such scales with a scale of their own, in float32."""
_NF4_TABLES_BYTES = 4 * (16 + 256 + 1)
"""Of a layer: the values that 4 bits and 8 bits stand for, and the scales' mean."""
_KEPT_WHOLE = {"t5": ("wo",), "mt5": ("wo",), "umt5": ("wo",)}
"""Linear layers beside the head that are not quantised, by model type."""

_STATE_TENSORS = {
    "adamw_torch_fused": (2, 4),
    "paged_adamw_32bit": (2, 4),
    "adamw_8bit": (2, 1),
    "paged_adamw_8bit": (2, 1),
    "lion": (1, 4),
    "lion_8bit": (1, 1),
    "paged_lion_8bit": (1, 1),
    "sgd": (1, 4),
}
"""Tensors of a weight's shape in an optimizer's state, and the bytes of their numbers."""
_LEAST_8BIT_NUMBERS = 4096
_8BIT_BLOCK = 256
"""Numbers of an 8-bit state with a scale of their own, in float32."""
_LEAST_PAGED_NUMBERS = 100_000


def quantised_layers(facts: ModelFacts) -> Layers:
    """Return the linear layers that int8 and nf4 quantise."""
    whole = ("lm_head", *_KEPT_WHOLE.get(facts.model_type, ()))
    return tuple(
        (name, n, m) for name, (n, m) in facts.linear_layers.items() if name.rpartition(".")[2] not in whole
    )


def weights_bytes(facts: ModelFacts, quant: str, dtype: str) -> int:
    """Return the bytes of a frozen base.

    Args:
        facts: Of the base model.
        quant: ``none``, ``int8`` or ``nf4`` with double quantisation.
        dtype: Compute type: ``float32`` or ``bfloat16``.

    Returns:
        Bytes of weights and scales; buffers, such as tables of positions, are left out.
    """
    element = ELEMENT_BYTES[dtype]
    if quant == "none":
        return facts.parameters * element
    layers = quantised_layers(facts)
    whole = facts.parameters - sum(n * m for _, n, m in layers)
    of_layer = _int8_bytes if quant == "int8" else _nf4_bytes
    return whole * element + sum(of_layer(n, m) for _, n, m in layers)


def state_bytes(shapes: Mapping[Shape, int], optim: str, *, on_gpu: bool) -> int:
    """Return the bytes of an optimizer's state on its device.

    Args:
        shapes: Of the trained tensors, with how many there are of each.
        optim: The optimizer's name.
        on_gpu: Whether it runs on a GPU, where paged state may leave the device and is not counted.

    Returns:
        Bytes; tables and counters of a few numbers are left out.
    """
    return sum(_state_bytes(shape, optim, on_gpu=on_gpu) * count for shape, count in shapes.items())


def updates_bytes(shapes: Mapping[Shape, int], optim: str) -> int:
    """Return the bytes of what an optimizer makes of the gradients at a step, beside them.

    Args:
        shapes: Of the trained tensors, with how many there are of each.
        optim: The optimizer's name.

    Returns:
        Lion makes all updates at once, Adafactor two tensors for one weight after the other, others none.
    """
    if optim == "lion":
        return TRAINED_BYTES * size(shapes)
    return 2 * TRAINED_BYTES * max(map(prod, shapes), default=0) if optim == "adafactor" else 0


def _state_bytes(shape: Shape, optim: str, *, on_gpu: bool) -> int:
    """Return the bytes of one tensor's state."""
    numbers = prod(shape)
    if optim == "adafactor":  # of a matrix a mean for each row and column, of a vector one for each number
        return 4 * (numbers if len(shape) < 2 else numbers // shape[-1] + numbers // shape[-2])
    tensors, number_bytes = _STATE_TENSORS[optim]
    if on_gpu and optim.startswith("paged_") and numbers >= _LEAST_PAGED_NUMBERS:
        return 0
    if number_bytes == 1:
        if numbers < _LEAST_8BIT_NUMBERS:
            return tensors * numbers * 4
        return tensors * (numbers + 4 * ceil(numbers / _8BIT_BLOCK))
    return tensors * numbers * number_bytes


def _int8_bytes(n: int, m: int) -> int:
    return n * m + 4 * m


def _nf4_bytes(n: int, m: int) -> int:
    scales = ceil(n * m / _NF4_BLOCK)
    return ceil(n * m / 2) + scales + 4 * ceil(scales / _NF4_OUTER_BLOCK) + _NF4_TABLES_BYTES
