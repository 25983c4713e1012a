"""What a person may demand of a recommendation beside a budget: memory, device, values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from orchestrator.contracts import Config, InputError, InvalidConfigError, Scalar, TrainingSettings
from surrogates.plan import Plan
from workers.tasks.records import Task

if TYPE_CHECKING:
    from workers.models.base import BaseModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraints:
    """Demands on every choice of a plan, and the device it is meant for."""

    fixed: Mapping[str, Scalar] = field(default_factory=dict)
    """Values that every choice must have."""
    excluded: Mapping[str, Sequence[Scalar]] = field(default_factory=dict)
    """Values, by name, that no choice may have."""
    gpu_memory_bytes: int | None = None
    """Of the GPU that will train; what can't fit there is left out. None: memory is no matter."""
    device: str | None = None
    """Name, or part of the name, of the device that will train."""
    speed_factor: float = 1.0
    """How many times faster that device is than those on record."""

    def __post_init__(self) -> None:
        problems = []
        if not 0 < self.speed_factor < float("inf"):
            problems.append(f"--speed-factor must be above 0, got {self.speed_factor:g}")
        if self.gpu_memory_bytes is not None and self.gpu_memory_bytes <= 0:
            problems.append(f"--gpu-memory must be above 0, got {self.gpu_memory_bytes}")
        both = sorted(set(self.fixed) & set(self.excluded))
        if both:
            problems.append(f"{', '.join(both)} is both set and excluded; leave one out")
        if problems:
            raise InputError(*problems)


def fitting(
    configs: Sequence[Config],
    *,
    gpu_memory_bytes: int,
    task: Task,
    base: "BaseModel",
    settings: TrainingSettings,
) -> list[Config]:
    """Return the configs that can train on a GPU of so much memory, in micro-batches as small as need be.

    Args:
        configs: At least one.
        gpu_memory_bytes: All of the GPU's.
        task: Whose examples they are trained on.
        base: The base model; only its files' shapes count.
        settings: Of the sweep that was learned from.

    Returns:
        Those that fit, in order.

    Raises:
        InputError: None does; with what the last of them needs.
    """
    from workers.footprint.examination import examine
    from workers.footprint.fitting import usable_bytes
    from workers.footprint.lengths import foretold_lengths
    from workers.training.hyperparameters import Hyperparameters

    lengths = foretold_lengths(base.tokenizer, task, settings, is_encoder_decoder=base.is_encoder_decoder)
    kept, problem = [], "there is no config to choose from"
    for config in configs:
        try:
            refusals = examine(
                Hyperparameters.from_config(config),
                base.location,
                settings.compute_dtype,
                device_type="cuda",
                memory_bytes=usable_bytes(gpu_memory_bytes),
                lengths=lengths,
            )
        except InvalidConfigError as err:
            refusals = [str(err)]
        if refusals:
            problem = refusals[0]
        else:
            kept.append(config)
    if not kept:
        raise InputError(
            f"no config fits into {gpu_memory_bytes / 2**30:.3g} GiB of GPU memory, of which "
            f"{usable_bytes(gpu_memory_bytes) / 2**30:.3g} GiB can be used; one {problem}"
        )
    return kept


def of_no_machine(features: Mapping[str, float], constraints: Constraints) -> Mapping[str, float]:
    """Leave out how fast the machine is that measured a task, where it will be trained on another one.

    Args:
        features: Meta-features of a task.
        constraints: Name the device that will train, or how much faster it is than those on record.

    Returns:
        The meta-features; all of them where it will be trained on the machine that measured it.
    """
    from surrogates.metadataset import ROOT_WORKLOAD

    if constraints.device is None and constraints.speed_factor == 1.0:
        return features
    return {name: value for name, value in features.items() if name != ROOT_WORKLOAD.speed}


def for_device(plan: Plan, constraints: Constraints, recorded: Sequence[str]) -> Plan:
    """Tell a plan's seconds as the asked device would take them.

    Args:
        plan: As the surrogate told it, in seconds of the devices on record.
        constraints: Name the device and how much faster it is.
        recorded: Names of the devices on record.

    Returns:
        The plan, with a note where its seconds may be wrong.
    """
    factor, device = constraints.speed_factor, constraints.device
    notes = list(plan.notes)
    is_other = device is not None and not any(device.lower() in name.lower() for name in recorded)
    measured = f"seconds were measured on {', '.join(recorded) or 'a device that is not on record'}"
    if factor != 1.0:
        notes.append(f"{measured}; they are told for {device or 'a device'} {factor:g} times as fast")
    elif is_other:
        notes.append(f"{measured}; on {device} they differ: say by how much with --speed-factor")
    return replace(
        plan,
        budget_s=plan.budget_s / factor,
        choices=tuple(replace(choice, cost_s=choice.cost_s / factor) for choice in plan.choices),
        notes=tuple(notes),
    )
