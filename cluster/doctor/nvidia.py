"""The GPUs of this machine as ``nvidia-smi`` lists them, whether or not torch can use them."""

import shutil
import subprocess
from dataclasses import dataclass

_FIELDS = ("index", "uuid", "name", "driver_version", "memory.total", "memory.used")
_ANSWER_S = 15.0


@dataclass(frozen=True, slots=True)
class Card:
    """One line of ``nvidia-smi``."""

    index: int
    uuid: str
    name: str
    driver: str
    total_bytes: int | None
    """None where the driver does not tell."""
    used_bytes: int | None


@dataclass(frozen=True, slots=True)
class Listing:
    """What ``nvidia-smi`` said."""

    cards: tuple[Card, ...] = ()
    trouble: str | None = None
    """Why it said nothing; None also where it is not installed."""


def listing(timeout_s: float = _ANSWER_S) -> Listing:
    """Ask ``nvidia-smi``.

    Args:
        timeout_s: How long it may take; a broken driver hangs.

    Returns:
        The GPUs; none where the program is not there.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        return Listing()
    command = [program, f"--query-gpu={','.join(_FIELDS)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        return Listing(trouble=f"nvidia-smi has not answered for {timeout_s:g} s")
    except OSError as err:
        return Listing(trouble=f"{program} can't be run: {err.strerror}")
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip().splitlines() or ["nothing"]
        return Listing(trouble=f"nvidia-smi ended with exit code {done.returncode}: {said[0]}")
    cards = []
    for line in filter(str.strip, done.stdout.splitlines()):
        card = _card(line)
        if card is None:
            return Listing(trouble=f"nvidia-smi says {line.strip()!r}, which is no GPU")
        cards.append(card)
    return Listing(cards=tuple(cards))


def _card(line: str) -> Card | None:
    values = [value.strip() for value in line.split(",")]
    if len(values) != len(_FIELDS) or not values[0].isdigit():
        return None
    index, uuid, name, driver, total, used = values
    return Card(int(index), uuid, name, driver, _mebibytes(total), _mebibytes(used))


def _mebibytes(text: str) -> int | None:
    return int(text) * 2**20 if text.isdigit() else None
