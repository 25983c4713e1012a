"""Where downloads and measurements are kept, and whether the model hub is asked at all."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from cluster.doctor import Finding, Status
from cluster.doctor.machine import disk
from workers.metafeatures.cache import FOLDER_VARIABLE, cache_folder

_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
_TRUE = ("1", "on", "yes", "true")


def hub_found(environment: Mapping[str, str], home: Path) -> list[Finding]:
    """Tell whether models and data sets can be fetched and kept; nobody is asked.

    Args:
        environment: Variables.
        home: The user's home folder.

    Returns:
        Two findings: may the hub be asked, and can its cache be written.
    """
    offline = [name for name in _OFFLINE if environment.get(name, "").lower() in _TRUE]
    if offline:
        found = f"{', '.join(offline)}: only models and data sets that are in the cache can be named"
    else:
        found = "asked when a sweep names a model or data set of it; the embedded default needs none"
    folder = _hub_folder(environment, home)
    kept = disk("hub's cache", folder, wanted_for="models and data sets of the hub are kept there (HF_HOME)")
    hub = Finding("model hub", Status.OK, found)
    return [hub, _read_only(kept.name, folder) if offline else _not_vital(kept)]


def own_cache_found() -> Finding:
    """Tell whether Foretune's own measurements of tasks can be kept."""
    folder = cache_folder()
    if folder is None:
        advice = f"name a folder in {FOLDER_VARIABLE}: without one every task is measured anew"
        return Finding("Foretune's cache", Status.WARNING, "there is no home folder", advice)
    wanted_for = f"tasks are measured anew otherwise ({FOLDER_VARIABLE})"
    return _not_vital(disk("Foretune's cache", folder, wanted_for=wanted_for))


def _not_vital(found: Finding) -> Finding:
    """Return what holds of a folder without which sweeps can run."""
    return replace(found, status=Status.WARNING) if found.status is Status.FAILED else found


def _hub_folder(environment: Mapping[str, str], home: Path) -> Path:
    if environment.get("HF_HUB_CACHE"):
        return Path(environment["HF_HUB_CACHE"]).expanduser()
    if environment.get("HF_HOME"):
        return Path(environment["HF_HOME"]).expanduser()
    caches = environment.get("XDG_CACHE_HOME")
    return (Path(caches) if caches else home / ".cache") / "huggingface"


def _read_only(name: str, folder: Path) -> Finding:
    """Return what holds of a cache that nothing is to be put into."""
    if folder.is_dir():
        return Finding(name, Status.OK, f"{folder} is there, and only read")
    advice = "fill it where there is a network, and name it in HF_HOME"
    return Finding(name, Status.WARNING, f"{folder} is not there, and the hub may not be asked", advice)
