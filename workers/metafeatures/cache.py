"""Measured once on a machine: meta-features kept in files, by a fingerprint of all that they depend on.

A file holds what it was measured from beside the numbers, and counts only if both are as asked; whatever else
lies there is measured again. Files appear whole, so that several processes may measure and keep the same task
at once. Nothing is ever read by another name, and the folder may be removed at any time.
"""

import json
import logging
import math
import os
import secrets
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.contracts import TrainingSettings, digest
from orchestrator.metadataset.durable import write_durably
from workers.metafeatures.measure import measure, measure_encoded
from workers.metafeatures.names import VERSION, names_measured
from workers.tasks.records import Task

if TYPE_CHECKING:
    from workers.models.base import BaseModel
    from workers.training.encoding import EncodedTask

_log = logging.getLogger(__name__)

FOLDER_VARIABLE = "FORETUNE_CACHE"
"""Environment variable that names the folder of all of Foretune's caches."""
_IMMATERIAL = ("horizon_epochs", "diverged_loss")
"""Settings that change no meta-feature; any other might."""


def cache_folder() -> Path | None:
    """Return where caches lie: ``FORETUNE_CACHE``, else the user's folder for such; None without a home."""
    given = os.environ.get(FOLDER_VARIABLE)
    if given:
        return Path(given).expanduser()
    if os.environ.get("XDG_CACHE_HOME"):
        return Path(os.environ["XDG_CACHE_HOME"]) / "foretune"
    try:
        home = Path.home()
    except RuntimeError:
        return None
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "foretune"


class FeatureCache:
    """Meta-features of tasks under base models, measured where they are not at hand."""

    def __init__(self, folder: Path | None = None) -> None:
        """Name the folder; it is made when something is kept.

        Args:
            folder: Where the files lie; None: ``meta-features`` in ``cache_folder()``. Where there is none
                either, nothing is kept.
        """
        if folder is None and (caches := cache_folder()) is not None:
            folder = caches / "meta-features"
        self._folder = folder

    def measure(self, task: Task, base: "BaseModel", settings: TrainingSettings) -> dict[str, float]:
        """Return a task's meta-features; see ``measure.measure``."""
        return self._recall(task, base, settings, lambda: measure(task, base=base, settings=settings))

    def measure_encoded(
        self, task: Task, encoded: "EncodedTask", base: "BaseModel", settings: TrainingSettings
    ) -> dict[str, float]:
        """Return the meta-features of a task whose tokens are at hand; see ``measure.measure_encoded``."""
        return self._recall(task, base, settings, lambda: measure_encoded(task, encoded, base, settings))

    def _recall(
        self,
        task: Task,
        base: "BaseModel",
        settings: TrainingSettings,
        measure_now: Callable[[], dict[str, float]],
    ) -> dict[str, float]:
        if self._folder is None:
            return measure_now()
        fingerprint = _fingerprint(task, base, settings)
        path = self._folder / f"{digest(fingerprint)}.json"
        kept = _read(path, fingerprint)
        if kept is not None:
            return kept
        features = measure_now()
        _keep(path, fingerprint, features)
        return features


def _fingerprint(task: Task, base: "BaseModel", settings: TrainingSettings) -> dict[str, Any]:
    """Return all that meta-features depend on, as JSON-like values."""
    from workers.training.memory import device_name

    material = {name: value for name, value in asdict(settings).items() if name not in _IMMATERIAL}
    return {
        "features_version": VERSION,
        "task_id": task.task_id,
        "base_fingerprint": base.fingerprint,
        "dtype": base.dtype,
        "device": device_name(base.device),
        "settings": material,
    }


def _read(path: Path, fingerprint: Mapping[str, Any]) -> dict[str, float] | None:
    """Return what a file keeps of this fingerprint; None if there is none, or it is not what was kept."""
    try:
        kept = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        _log.warning("kept meta-features can't be read, measuring again file=%s reason=%s", path, error)
        return None
    features = kept.get("features") if isinstance(kept, dict) and kept.get("of") == fingerprint else None
    if not (isinstance(features, dict) and features.keys() == names_measured(with_base=True)):
        _log.warning("kept meta-features are of another kind, measuring again file=%s", path)
        return None
    if not all(isinstance(value, float) and math.isfinite(value) for value in features.values()):
        _log.warning("kept meta-features are no numbers, measuring again file=%s", path)
        return None
    return features


def _keep(path: Path, fingerprint: Mapping[str, Any], features: Mapping[str, float]) -> None:
    """Write a file, if the system lets us; what was measured is right without it."""
    content = json.dumps({"of": fingerprint, "features": features}, indent=1, allow_nan=False)
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, content.encode(), aside=aside)
    except OSError as error:
        _log.warning("meta-features can't be kept file=%s reason=%s", path, error)
