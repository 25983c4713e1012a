"""The working directory of a submitted sweep: our packages, the spec, and the task files it names.

The same inputs give the same content, so that Ray, which names uploads by their content, uploads them once.
"""

import importlib.util
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from orchestrator.app.inputs import content_name, files_of
from orchestrator.app.spec import SweepSpec, TaskEntry
from orchestrator.contracts import InputError
from workers.space import SearchSpace
from workers.tasks.loading import load_task

PACKAGES = ("orchestrator", "workers", "surrogates", "cluster")
SPEC_FILE = "sweep.yaml"
TASKS_DIR = "tasks"
_LEFT_OUT = ("__pycache__", "*.pyc", "tests", ".*", "runs")
_ZIP_BYTES_PER_FILE = 76
"""Headers of an archive's member, beside its name, which stands there twice."""
_ZIP_END_BYTES = 22


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A folder that holds all a sweep needs but the base model and what is installed on the cluster."""

    folder: Path
    spec: SweepSpec
    """As the cluster will read it; its task files are named relative to the folder."""
    size_bytes: int
    notes: tuple[str, ...]
    """What the person should know before the cluster finds out."""


@contextmanager
def bundled(spec: SweepSpec, *, limit_bytes: int) -> Iterator[Bundle]:
    """Hold a bundle; leaving removes it.

    Args:
        spec: The checked spec, its paths absolute.
        limit_bytes: The most that can be uploaded.

    Yields:
        The bundle.

    Raises:
        InputError: A task, a config or the space can't be used, or all together is too large; what is wrong
            with the spec is named at once.
    """
    tasks = _checked_tasks(spec)
    with TemporaryDirectory(prefix="foretune-bundle-") as name:
        folder = Path(name)
        try:
            entries = _fill(folder, tasks)
        except OSError as err:
            raise InputError(f"the working directory to upload can't be made in {folder}: {err}") from err
        carried = spec.model_copy(update={"tasks": tuple(entries)})
        (folder / SPEC_FILE).write_text(carried.to_yaml(), encoding="utf-8")
        size_bytes = _refuse_too_large(folder, spec, entries, limit_bytes)
        yield Bundle(folder=folder, spec=carried, size_bytes=size_bytes, notes=_notes(spec))


def _fill(folder: Path, tasks: Sequence[tuple[TaskEntry, str | None]]) -> list[TaskEntry]:
    """Copy packages and task files; return the tasks as the copy names them."""
    for package in PACKAGES:
        shutil.copytree(_home(package), folder / package, ignore=shutil.ignore_patterns(*_LEFT_OUT))
    _write_metadata(folder)
    (folder / TASKS_DIR).mkdir()
    return [_carry(entry, task_name, folder) for entry, task_name in tasks]


def _checked_tasks(spec: SweepSpec) -> list[tuple[TaskEntry, str | None]]:
    """Return the tasks with the names of those that lie here, having read these, the space and the configs.

    What only the cluster can tell (its hub, its base model) is checked there, before anything is run.
    """
    problems: list[str] = []
    tasks: list[tuple[TaskEntry, str | None]] = []
    for entry in spec.tasks:
        try:
            is_here = not entry.source.startswith("hf:")
            tasks.append((entry, load_task(entry.source, name=entry.name).name if is_here else entry.name))
        except InputError as err:
            problems += err.problems
    try:
        space = SearchSpace.from_spec(spec.preset, spec.space)
        for config in spec.configs if isinstance(spec.configs, tuple) else ():
            space.check(config)
    except InputError as err:
        problems += err.problems
    if problems:
        raise InputError(*problems)
    return tasks


def _carry(entry: TaskEntry, task_name: str | None, folder: Path) -> TaskEntry:
    """Copy a task's file or folder, under a name that its content gives; hubs and worlds stay as they are."""
    if entry.source.startswith(("worlds:", "hf:")):
        return entry
    source = Path(entry.source)
    relative = f"{TASKS_DIR}/{content_name(source)}"
    if source.is_dir():
        shutil.copytree(source, folder / relative, dirs_exist_ok=True)
    else:
        shutil.copyfile(source, folder / relative)
    return entry.model_copy(update={"source": relative, "name": task_name})


def _write_metadata(folder: Path) -> None:
    """Let the cluster's Python know our version: the packages are put there, not installed."""
    ours = version("foretune")
    metadata = folder / f"foretune-{ours}.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: foretune\nVersion: {ours}\n", encoding="utf-8")


def _home(package: str) -> Path:
    """Return the folder a package is imported from."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise InputError(f"package {package!r} can't be found; install Foretune, or run from its checkout")
    return Path(found.submodule_search_locations[0])


def _refuse_too_large(folder: Path, spec: SweepSpec, entries: Sequence[TaskEntry], limit_bytes: int) -> int:
    """Return the size of the archive that Ray makes of a folder (it does not compress), if it may be sent."""
    size_bytes = _archive_bytes(folder) + _ZIP_END_BYTES
    if size_bytes < limit_bytes:
        return size_bytes
    parts = {package: _archive_bytes(folder / package) for package in PACKAGES}
    for entry, carried in zip(spec.tasks, entries, strict=True):
        if carried is not entry:
            parts[entry.source] = _archive_bytes(folder / carried.source)
    largest = max(parts, key=lambda part: parts[part])
    raise InputError(
        f"what the sweep needs is {_mib(size_bytes)} and a Ray cluster takes uploads below "
        f"{_mib(limit_bytes)}; the largest part is {largest} with {_mib(parts[largest])}: publish that task "
        "on a hub (hf:ID), or put it on storage that the cluster's nodes share and use "
        "`foretune run --address` there"
    )


def _archive_bytes(path: Path) -> int:
    files = files_of(path) if path.is_dir() else [path]
    return sum(
        file.stat().st_size + 2 * len(str(file.relative_to(path)).encode()) + _ZIP_BYTES_PER_FILE
        for file in files
    )


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:.1f} MiB"


def _notes(spec: SweepSpec) -> tuple[str, ...]:
    if not Path(spec.base_model).is_absolute():
        return ()
    return (
        f"the base model {spec.base_model} is not uploaded: the cluster's nodes must see it under that path",
    )
