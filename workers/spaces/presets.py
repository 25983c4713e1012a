"""Declared spaces by name.

``tiny`` is for the embedded base model of 1.25 M parameters, whose good learning rates lie some ten times
above those of a real model; its default is what a careful person would try first there, not its optimum.
``phi3`` is for Phi-3-mini, with the defaults of the field. Both search the core tier; with ``-extended``
behind the name, all of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from orchestrator.contracts import InputError
from workers.spaces.declarations import Scale, declarations
from workers.spaces.parameters import Parameter

_TINY = Scale(
    learning_rate=(1e-4, 5e-2, 1e-3),
    oft_learning_rate=(1e-4, 3e-2, 1e-3),
    vector_learning_rate=(5e-3, 0.3, 3e-2),
    full_learning_rate=(3e-5, 1e-2, 3e-4),
    lora_r=(4, 8, 16, 32, 64),
    miss_r=(8, 16, 32, 64),
    oft_block_size=(8, 16, 32, 64),
    vera_r=(64, 128, 256, 512),
    num_virtual_tokens=(4, 8, 16, 32),
    core_quant=("none",),
    core_optim=("adamw_torch_fused", "lion", "adafactor"),
    extended_optim=("adamw_torch_fused", "adamw_8bit", "lion", "lion_8bit", "adafactor"),
)
_PHI3 = Scale(
    learning_rate=(2e-5, 2e-3, 2e-4),
    oft_learning_rate=(2e-5, 1e-3, 1e-4),
    vector_learning_rate=(5e-4, 1e-2, 5e-3),
    full_learning_rate=(2e-6, 1e-4, 1e-5),
    lora_r=(4, 8, 16, 32, 64, 128),
    miss_r=(16, 32, 64, 128),
    oft_block_size=(16, 32, 64, 128),
    vera_r=(128, 256, 512, 1024),
    num_virtual_tokens=(8, 16, 32, 64),
    core_quant=("none", "nf4"),
    core_optim=("adamw_torch_fused", "adamw_8bit"),
    extended_optim=("adamw_torch_fused", "adamw_8bit", "paged_adamw_8bit", "lion_8bit", "adafactor"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A declared space, as a person's changes find it."""

    parameters: tuple[Parameter, ...]
    """Every known name, in the order of the names table, with the values it may have here."""
    left_out: tuple[str, ...]
    """The names that are not searched unless a person adds them."""


def _preset(scale: Scale, *, extended: bool) -> Preset:
    declared = declarations(scale)
    left_out = () if extended else tuple(item.parameter.name for item in declared if item.core is None)
    return Preset(
        parameters=tuple(item.in_tier(extended=extended) for item in declared),
        left_out=left_out,
    )


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "tiny": _preset(_TINY, extended=False),
        "tiny-extended": _preset(_TINY, extended=True),
        "phi3": _preset(_PHI3, extended=False),
        "phi3-extended": _preset(_PHI3, extended=True),
    }
)


def preset_named(name: str) -> Preset:
    """Return a preset.

    Args:
        name: Its name.

    Returns:
        The preset.

    Raises:
        InputError: There is no such preset.
    """
    if name not in PRESETS:
        raise InputError(f"no search space {name!r}; there are {', '.join(PRESETS)}")
    return PRESETS[name]
