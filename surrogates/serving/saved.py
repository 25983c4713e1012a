"""A fitted recommender on disk: a folder that is whole or not there, and that says what it was made by.

    state-000003/
      state.json            what was learned, when, from what; the objects (see ``values``)
      arrays.safetensors    their arrays
      frame-0.parquet ...   their tables
      digests.json          SHA-256 of each of the files above; written last

A folder is written aside, every file fsynced, then renamed. A state that was made by other code, or whose
digests do not agree, is refused with the reason: learning anew is cheap, a subtly wrong answer is not.
"""

import hashlib
import io
import json
import os
import shutil
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pyarrow as pa
import safetensors
import safetensors.numpy

from orchestrator.contracts import OrchestrationError
from orchestrator.metadataset.durable import make_folder_durably, sync_folder, write_durably
from surrogates.recommender import Recommender
from surrogates.serving.values import Reader, UnreadableError, Writer

_FORMAT = 2
_STATE, _ARRAYS, _DIGESTS = "state.json", "arrays.safetensors", "digests.json"
_PREFIX = "state-"
_NOT_SAVED = frozenset({"baselines", "evaluation", "interchange"})
"""Parts of this package of which no recommender holds anything."""
KEPT = 2
"""States that stay on disk: the one that answers and the one before it."""


class SavedStateError(OrchestrationError):
    """A saved state can't be used: learn anew."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"the saved state {self.path} can't be used: {self.reason}; it is learned anew from the root"


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What a state was learned from, and how long that took."""

    rows: int
    """Rows on record just before they were read; see ``sources.count_rows``."""
    fit_s: float
    learned_at: str
    """Moment, in ISO 8601 and UTC."""


@dataclass(frozen=True, slots=True)
class SavedState:
    """A recommender as it was saved."""

    recommender: Recommender
    learned: Learned


def save(recommender: Recommender, learned: Learned, states: Path) -> int:
    """Write a state as the newest of a folder of states; it appears whole or not at all.

    Args:
        recommender: What was learned.
        learned: From what.
        states: Where states lie side by side.

    Returns:
        Its version: one more than the newest before.

    Raises:
        UnsavableError: The recommender holds something that can't be saved.
        OSError: The system refused.
    """
    writer = Writer()
    objects = writer.write(recommender, "recommender")
    files = {
        _STATE: json.dumps({"learned": asdict(learned), "objects": objects}).encode(),
        _ARRAYS: safetensors.numpy.save(
            {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in writer.arrays.items()}
        ),
    }
    for place, frame in enumerate(writer.frames):
        buffer = io.BytesIO()
        frame.to_parquet(buffer)
        files[f"frame-{place}.parquet"] = buffer.getvalue()
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    aside = states / f".{_PREFIX}{os.getpid()}"
    shutil.rmtree(aside, ignore_errors=True)
    make_folder_durably(aside)
    try:
        for name, content in files.items():
            write_durably(aside / name, content)
        made_by = {"format": _FORMAT, "made_by": made_by_this_code(), "digests": digests}
        write_durably(aside / _DIGESTS, json.dumps(made_by).encode())
        version = max(versions(states), default=0) + 1
        aside.rename(state_folder(states, version))
        sync_folder(states)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return version


def load(folder: Path) -> SavedState:
    """Read a state; nothing is fitted.

    Args:
        folder: Of the state; see ``state_folder``.

    Returns:
        A recommender that plans as the saved one did.

    Raises:
        SavedStateError: It was made by other code, or is damaged.
    """
    try:
        files = _checked_files(folder)
        content = json.loads(files.pop(_STATE))
        arrays = safetensors.numpy.load(files.pop(_ARRAYS))
        frames = [pd.read_parquet(io.BytesIO(files[f"frame-{place}.parquet"])) for place in range(len(files))]
        recommender = Reader(arrays, frames).read(content["objects"])
        learned = Learned(**content["learned"])
    except (
        *(OSError, ValueError, KeyError, IndexError, TypeError, AttributeError),
        *(UnreadableError, pa.ArrowException, safetensors.SafetensorError, lightgbm.basic.LightGBMError),
    ) as err:
        raise SavedStateError(str(folder), str(err) or type(err).__name__) from err
    if not isinstance(recommender, Recommender):
        raise SavedStateError(str(folder), "it holds no recommender")
    return SavedState(recommender, learned)


def state_folder(states: Path, version: int) -> Path:
    """Return where a version's state lies."""
    return states / f"{_PREFIX}{version:06d}"


def versions(states: Path) -> list[int]:
    """Return the versions on disk, rising."""
    if not states.is_dir():
        return []
    names = [path.name.removeprefix(_PREFIX) for path in states.glob(f"{_PREFIX}*")]
    return sorted(int(name) for name in names if name.isdigit())


def drop_old(states: Path) -> None:
    """Remove all but the newest states."""
    for version in versions(states)[:-KEPT]:
        shutil.rmtree(state_folder(states, version), ignore_errors=True)


@cache
def made_by_this_code() -> str:
    """Return a digest of the code that makes recommenders and of the libraries whose numbers it keeps."""
    package = Path(__file__).parents[1]
    hasher = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        if path.relative_to(package).parts[0] in _NOT_SAVED:
            continue
        hasher.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    hasher.update(f"lightgbm {lightgbm.__version__}, numpy {np.__version__}".encode())
    return hasher.hexdigest()


def _checked_files(folder: Path) -> dict[str, bytes]:
    said: dict[str, Any] = json.loads((folder / _DIGESTS).read_bytes())
    if said["format"] != _FORMAT or said["made_by"] != made_by_this_code():
        raise UnreadableError("another release of this code made it")
    files = {name: (folder / name).read_bytes() for name in said["digests"]}
    for name, content in files.items():
        if hashlib.sha256(content).hexdigest() != said["digests"][name]:
            raise UnreadableError(f"{name} is damaged")
    return files


made_by_this_code()  # now: later, the files may be those of a release that was put in place meanwhile
