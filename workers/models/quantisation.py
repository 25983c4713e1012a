"""Base weights in 8 bits (LLM.int8) and 4 (nf4, double quantisation) by bitsandbytes, as they train right.

Both train on CPUs and GPUs alike. On a CPU an 8-bit layer multiplies dequantised weights in training, and
quantises activations too, as it does everywhere on a GPU, in evaluation alone.
"""

import importlib.util
import logging
from collections.abc import Iterator
from typing import Any

import torch

from orchestrator.contracts import InvalidConfigError


def quantisation_settings(quant: str, compute_dtype: torch.dtype) -> Any:
    """Return what transformers is given to load a model quantised.

    Args:
        quant: ``int8``, or ``nf4`` with double quantisation.
        compute_dtype: Type in which dequantised 4-bit weights are multiplied.

    Returns:
        A ``transformers.BitsAndBytesConfig``.

    Raises:
        InvalidConfigError: bitsandbytes is not installed.
    """
    if importlib.util.find_spec("bitsandbytes") is None:
        raise InvalidConfigError(f"quant = {quant} needs bitsandbytes; pip install bitsandbytes")
    from transformers import BitsAndBytesConfig

    if quant == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)  # type: ignore[no-untyped-call]
    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",  # the library's own default is fp4
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute_dtype,
    )


def keep_trainable(model: torch.nn.Module) -> None:
    """Bring a quantised model's layers into the one state in which they can be shared, and train right.

    On CPUs with AVX512-BF16, bitsandbytes 0.50.2 packs 4-bit weights at the first forward pass without
    gradients; training passes after it run through a kernel without a backward, and gradients lose all but
    the adapters' own branch. An 8-bit layer takes the scales off its weight at its first forward pass, so
    that of two layers that share a weight the second would quantise anew what is quantised; here it has them
    from the start, and keeps them when PEFT's DoRA puts another weight in their place.
    """
    from bitsandbytes.nn import Linear4bit, Linear8bitLt

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False
        elif isinstance(module, Linear8bitLt):
            module.init_8bit_state()
            module.weight.SCB = module.state.SCB
            module.init_8bit_state = _settled
    _quieten()


def shared_tensors(model: torch.nn.Module) -> Iterator[torch.Tensor]:
    """Yield what copies of a model share: weights, buffers, and the scales of 8-bit layers."""
    yield from model.parameters()
    yield from model.buffers()
    for module in model.modules():
        state: Any = getattr(module, "state", None)
        if isinstance(getattr(state, "SCB", None), torch.Tensor):
            yield from (state.CB, state.SCB)


def _settled() -> None:
    """Do nothing: a layer's 8-bit state is complete."""


def _quieten() -> None:
    """Drop the line that bitsandbytes logs at every 8-bit multiplication of what is not in float16."""
    log = logging.getLogger("bitsandbytes.autograd._functions")
    if not any(isinstance(known, _WithoutCasts) for known in log.filters):
        log.addFilter(_WithoutCasts())


class _WithoutCasts(logging.Filter):
    """Passes all but the news that inputs are cast."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a line is kept."""
        return "inputs will be cast" not in record.msg
