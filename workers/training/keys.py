"""Keyed randomness: every random number of a trial is a function of the trial and of where it is used.

Nothing is drawn from a global stream, so a trial's numbers do not depend on what ran before it in the
process, on interruptions, or on what trains beside it.
"""

import hashlib
import random


def keyed_seed(trial_id: str, purpose: str, *where: int | str) -> int:
    """Derive the seed of one use of randomness.

    Args:
        trial_id: The trial the number belongs to.
        purpose: What it is for, such as ``dropout`` or ``order``.
        *where: The place in the trial: pass, epoch, step, layer; order matters.

    Returns:
        A number in [0, 2^63): the first 63 bits of a SHA-256.
    """
    text = "\x1f".join((trial_id, purpose, *(str(part) for part in where)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def keyed_order(count: int, trial_id: str, purpose: str, *where: int | str) -> list[int]:
    """Return 0 .. count - 1 in the random order of this key."""
    order = list(range(count))
    random.Random(keyed_seed(trial_id, purpose, *where)).shuffle(order)
    return order
