"""Learning anew beside the answering process: ``python -m surrogates.serving.refit ROOT``.

Fitting holds Python's lock for seconds, so whoever answers lets another process do it, at low priority, and
takes the state that it leaves on disk.
"""

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from orchestrator.contracts import InputError, OrchestrationError
from orchestrator.metadataset.durable import make_folder_durably
from orchestrator.metadataset.layout import RootLayout
from surrogates.data.store import read_meta
from surrogates.recommender import Recommender
from surrogates.serving.comparison import Verdict, judge
from surrogates.serving.questions import ERRORS, KINDS
from surrogates.serving.saved import Learned, SavedState, SavedStateError, load, save, state_folder
from surrogates.serving.sources import count_rows

_TIMEOUT_S = 3600.0
_NICENESS = 10
_TAIL = 2000
"""Letters of a failed process's last words that are logged."""

logger = logging.getLogger(__name__)


class RefitFailedError(OrchestrationError):
    """Learning anew ended without a result; the old answers stay."""

    def __init__(self, root: str, reason: str) -> None:
        super().__init__(root, reason)
        self.root, self.reason = root, reason

    def __str__(self) -> str:
        return f"learning anew from {self.root} failed: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refitted:
    """What came of learning anew."""

    verdict: Verdict
    version: int | None
    """Of the state on disk; None where it was not accepted."""
    rows: int
    """Rows on record that were looked at."""
    fit_s: float


Refit = Callable[[Path, int | None], Refitted]
"""Learns from a root; given the version that answers now, only a better state is saved."""


def refit(root: Path, before: int | None) -> Refitted:
    """Learn from a root, here and now, and save the state if it is better than the one before.

    Args:
        root: A sweep's root or a folder of tables.
        before: Version of the state that answers now; None: whatever is learned is better than nothing.

    Returns:
        What came of it.

    Raises:
        InputError: The root is neither, or can't be written.
        NothingLearnedError: No trial has finished yet.
        CorruptLedgerError: What there is to learn from can't be read.
    """
    state = learn(root)
    rows, fit_s = state.learned.rows, state.learned.fit_s
    verdict = _judged(root, before, state.recommender)
    if not verdict.accepted:
        return Refitted(verdict=verdict, version=None, rows=rows, fit_s=fit_s)
    try:
        version = keep(state, root)
    except OSError as err:
        states = RootLayout(root).surrogate_dir
        raise InputError(
            f"what was learned can't be saved under {states}: {os.strerror(err.errno or 0)}; make room, or "
            "serve a copy of the folder that can be written"
        ) from err
    return Refitted(verdict=verdict, version=version, rows=rows, fit_s=fit_s)


def learn(root: Path) -> SavedState:
    """Learn from a root, here and now; nothing is written.

    Args:
        root: A sweep's root or a folder of tables.

    Returns:
        What was learned, and from how much.

    Raises:
        InputError: The root is neither.
        NothingLearnedError: No trial has finished yet.
        CorruptLedgerError: What there is to learn from can't be read.
    """
    rows = count_rows(root)
    start_s = time.monotonic()
    recommender = Recommender.fit(read_meta(root))
    fit_s = time.monotonic() - start_s
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return SavedState(recommender, Learned(rows=rows, fit_s=fit_s, learned_at=now))


def keep(state: SavedState, root: Path) -> int:
    """Write what was learned beside the root it was learned from.

    Args:
        state: What was learned.
        root: The sweep's root or the folder of tables.

    Returns:
        Its version.

    Raises:
        OSError: The system refused.
    """
    states = RootLayout(root).surrogate_dir
    make_folder_durably(states)
    return save(state.recommender, state.learned, states)


def _judged(root: Path, before: int | None, recommender: Recommender) -> Verdict:
    if before is None:
        return Verdict(accepted=True, reason="nothing answered before")
    try:
        old = load(state_folder(RootLayout(root).surrogate_dir, before)).recommender
    except SavedStateError as err:
        return Verdict(accepted=True, reason=f"it can't be compared: {err}")
    return judge(old.meta, recommender.meta)


def refit_aside(root: Path, before: int | None) -> Refitted:
    """Do as ``refit`` does, in a process of its own.

    Args:
        root: As ``refit`` takes it.
        before: As ``refit`` takes it.

    Returns:
        What came of it.

    Raises:
        InputError: As ``refit``.
        NothingLearnedError: As ``refit``.
        CorruptLedgerError: As ``refit``.
        RefitFailedError: The process died, or took an hour.
    """
    command = [sys.executable, "-m", __name__, str(root), "-" if before is None else str(before)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as err:
        raise RefitFailedError(str(root), f"it took longer than {_TIMEOUT_S:g} s") from err
    if ended.returncode != 0:
        logger.warning("refit failed root=%s stderr=%s", root, ended.stderr[-_TAIL:])
        last_words = (ended.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise RefitFailedError(str(root), f"its process ended with {ended.returncode}: {last_words}")
    return _unpacked(json.loads(ended.stdout.splitlines()[-1]))


def _unpacked(content: Mapping[str, Any]) -> Refitted:
    if "error" in content:
        raise KINDS[content["error"]](*content["fields"])
    verdict = content["verdict"]
    return Refitted(**{**content, "verdict": Verdict(**{**verdict, "tasks": tuple(verdict["tasks"])})})


def main(root: str, before: str) -> None:
    """Learn from a root and say in one line of JSON what came of it."""
    os.nice(_NICENESS)
    try:
        said: dict[str, Any] = asdict(refit(Path(root), None if before == "-" else int(before)))
    except ERRORS as err:
        said = {"error": type(err).__name__, "fields": [str(field) for field in err.args]}
    sys.stdout.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
