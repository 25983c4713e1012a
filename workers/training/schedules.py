"""Learning-rate schedules as functions of the step alone; the shapes are those of transformers.

Notation: ``step`` counts from 0 and is the optimizer step about to be done; ``total`` is all steps up to the
horizon; ``warmup`` are the steps over which the rate rises linearly from 0. The result multiplies the
config's learning rate and lies in [0, 1].
"""

import math

DECAY_SHARE = 0.2
"""Share of all steps over which ``warmup_stable_decay`` falls linearly to 0."""


def warmup_length(warmup_steps: float, total: int) -> int:
    """Return the warm-up in steps: a share of all steps, rounded up, where the config's value is below 1."""
    return math.ceil(warmup_steps * total) if warmup_steps < 1 else int(warmup_steps)


def learning_rate_factor(kind: str, step: int, *, total: int, warmup: int) -> float:
    """Return what the learning rate is multiplied by at a step.

    Args:
        kind: ``constant_with_warmup``, ``linear``, ``cosine`` or ``warmup_stable_decay``.
        step: Steps done before this one.
        total: Steps up to the horizon, at least 1.
        warmup: Steps of the warm-up.

    Returns:
        The factor, in [0, 1].

    Raises:
        ValueError: The kind is unknown.
    """
    if step < warmup:
        return step / max(1, warmup)
    left = max(0, total - step)
    match kind:
        case "constant_with_warmup":
            return 1.0
        case "linear":
            return left / max(1, total - warmup)
        case "cosine":
            progress = min(1.0, (step - warmup) / max(1, total - warmup))
            return max(0.0, 0.5 * (1.0 + math.cos(math.pi * progress)))
        case "warmup_stable_decay":
            return min(1.0, left / max(1, math.ceil(DECAY_SHARE * total)))
    raise ValueError(f"unknown learning-rate schedule {kind!r}")
