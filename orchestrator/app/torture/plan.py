"""What is killed, and when: drawn from a seed alone, before anything is alive."""

import enum
import random
from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.contracts import InputError

MEAN_PAUSE_S = 0.8
LONGEST_PAUSE_S = 4.0
_IN_RECOVERY = 0.25
"""Share of kills that do not wait for work to go on after the kill before."""
_LONGEST_ABSENCE_S = 8.0


class KillKind(enum.StrEnum):
    """What a kill hits."""

    WORKER = "worker"
    """One trainer's process."""
    NODE = "node"
    """All processes of a node; another node joins after a while."""
    DRIVER = "driver"
    """The driver; a new one resumes."""
    HEAD = "head"
    """The head, and with it the whole cluster; a new cluster starts at the same address, a driver resumes."""


_WEIGHTS: Mapping[KillKind, float] = {
    KillKind.WORKER: 0.62,
    KillKind.NODE: 0.18,
    KillKind.DRIVER: 0.15,
    KillKind.HEAD: 0.05,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """One kill of a plan."""

    kind: KillKind
    pause_s: float
    """How long to wait before it, in seconds."""
    in_recovery: bool
    """Whether the pause runs from the kill before, whatever is still down; otherwise only while
    work goes on."""
    pick: float
    """Which of those alive is hit: a position in [0, 1) among them, oldest first."""
    absence_s: float
    """Node: seconds until another joins in its stead."""
    takes_driver: bool
    """Head: whether the driver dies in the same moment; otherwise it is left to find out."""


def draw_kills(seed: int, count: int) -> tuple[Kill, ...]:
    """Draw a plan of kills.

    Args:
        seed: Decides everything.
        count: How many; from four on each kind is among them.

    Returns:
        The kills, in order; the same for the same seed and count.

    Raises:
        InputError: The count is below 1.
    """
    if count < 1:
        raise InputError(f"--kills must be at least 1, got {count}")
    dice = random.Random(seed)
    kinds = list(KillKind) if count >= len(KillKind) else []
    kinds += dice.choices(list(_WEIGHTS), weights=list(_WEIGHTS.values()), k=count - len(kinds))
    dice.shuffle(kinds)
    return tuple(_draw(kind, dice) for kind in kinds)


def _draw(kind: KillKind, dice: random.Random) -> Kill:
    return Kill(
        kind=kind,
        pause_s=min(LONGEST_PAUSE_S, dice.expovariate(1 / MEAN_PAUSE_S)),
        in_recovery=dice.random() < _IN_RECOVERY,
        pick=dice.random(),
        absence_s=dice.uniform(0, _LONGEST_ABSENCE_S),
        takes_driver=dice.random() < 0.5,
    )
