"""Asks torch and bitsandbytes what they can do; a process of its own, as a broken driver hangs or crashes it.

Reads one line from standard input, which says to begin, and writes one of JSON: the fields of ``TorchFacts``.
"""

import contextlib
import importlib.util
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from orchestrator.contracts import first_line


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFacts:
    """One GPU as torch sees it."""

    name: str
    total_bytes: int
    free_bytes: int
    capability: str
    """CUDA's compute capability, such as ``9.0``."""
    has_bf16: bool
    """In hardware."""
    trouble: str | None
    """Why it could not compute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchFacts:
    """What torch and bitsandbytes say of themselves."""

    version: str
    cuda: str | None
    """CUDA's version that torch was built for; None of a build for CPUs."""
    devices: tuple[DeviceFacts, ...]
    trouble: str | None
    """Why CUDA can't be used, where torch was built for it."""
    bitsandbytes: str | None
    """Its version; None where it is not installed."""
    quantisation_trouble: str | None
    """Why it can't quantise."""

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Read what ``dataclasses.asdict`` made."""
        devices = tuple(DeviceFacts(**device) for device in content["devices"])
        return cls(**{**content, "devices": devices})


def ask() -> TorchFacts:
    """Return what there is; initialises CUDA."""
    import torch

    trouble: str | None = None
    devices: tuple[DeviceFacts, ...] = ()
    if torch.version.cuda is not None:
        try:
            torch.cuda.current_device()  # says why, where CUDA can't be used
            devices = tuple(_device(number) for number in range(torch.cuda.device_count()))
        except (RuntimeError, AssertionError) as err:
            trouble = first_line(err)
    version, quantisation_trouble = _quantisation("cuda" if devices else "cpu")
    return TorchFacts(
        version=torch.__version__,
        cuda=torch.version.cuda,
        devices=devices,
        trouble=trouble,
        bitsandbytes=version,
        quantisation_trouble=quantisation_trouble,
    )


def _device(number: int) -> DeviceFacts:
    import torch

    properties = torch.cuda.get_device_properties(number)
    trouble, free_bytes = None, 0
    try:
        free_bytes = torch.cuda.mem_get_info(number)[0]
        ones = torch.ones(64, 64, device=f"cuda:{number}")
        if (found := float((ones @ ones).sum())) != 64.0**3:
            trouble = f"a product of ones came to {found:g} instead of {64**3}"
    except RuntimeError as err:
        trouble = first_line(err)
    return DeviceFacts(
        name=properties.name,
        total_bytes=properties.total_memory,
        free_bytes=free_bytes,
        capability=f"{properties.major}.{properties.minor}",
        has_bf16=properties.major >= 8,
        trouble=trouble,
    )


def _quantisation(device: str) -> tuple[str | None, str | None]:
    """Return bitsandbytes' version, and what is wrong with it."""
    if importlib.util.find_spec("bitsandbytes") is None:
        return None, None
    from importlib.metadata import version

    import torch

    try:
        from bitsandbytes import functional

        weights = torch.linspace(-1, 1, 64 * 64, device=device).reshape(64, 64)
        coarse = functional.dequantize_4bit(*functional.quantize_4bit(weights, quant_type="nf4"))
        functional.int8_vectorwise_quant(weights.half())
        if not torch.allclose(coarse, weights, atol=0.2):
            return version("bitsandbytes"), "nf4 weights come back as others"
    except (ImportError, OSError, RuntimeError, AttributeError, NotImplementedError) as err:
        return version("bitsandbytes"), first_line(err)
    return version("bitsandbytes"), None


def main() -> None:
    """Answer once."""
    sys.stdin.readline()
    with contextlib.redirect_stdout(sys.stderr):
        facts = ask()
    sys.stdout.write(json.dumps(asdict(facts)) + "\n")


if __name__ == "__main__":
    main()
