"""4-bit base weights (nf4, double quantisation) through bitsandbytes, in the form that trains right."""

import importlib.util
from typing import Any

import torch

from orchestrator.contracts import InvalidConfigError


def nf4_settings(compute_dtype: torch.dtype) -> Any:
    """Return what transformers is given to load a model in nf4 with double quantisation.

    Args:
        compute_dtype: Type in which the dequantised weights are multiplied.

    Returns:
        A ``transformers.BitsAndBytesConfig``.

    Raises:
        InvalidConfigError: bitsandbytes is not installed.
    """
    if importlib.util.find_spec("bitsandbytes") is None:
        raise InvalidConfigError("quant = nf4 needs bitsandbytes; pip install bitsandbytes")
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",  # the library's own default is fp4
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute_dtype,
    )


def keep_trainable(model: torch.nn.Module) -> None:
    """Forbid bitsandbytes to repack 4-bit weights for inference, after which training is silently wrong.

    On CPUs with AVX512-BF16, bitsandbytes 0.50.2 packs the weights at the first forward pass without
    gradients; training passes after it run through a kernel without a backward, and gradients lose all but
    the adapters' own branch.
    """
    from bitsandbytes.nn import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False
