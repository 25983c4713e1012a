"""Copies of task files in a root, for clusters whose nodes do not share the folder that a spec lies in."""

import hashlib
import os
import shutil
from pathlib import Path

from orchestrator.app.spec import SweepSpec, TaskEntry
from orchestrator.contracts import InputError
from orchestrator.metadataset.layout import RootLayout
from workers.tasks.loading import load_task


def copy_tasks(spec: SweepSpec, layout: RootLayout) -> SweepSpec:
    """Copy local task files into a root, under names that follow from their content.

    Args:
        spec: The checked spec.
        layout: Of the root.

    Returns:
        The same spec, reading the copies; copied again, the same files give the same spec.

    Raises:
        InputError: A task can't be read, or the root not be written.
    """
    entries = tuple(_copied(entry, layout.inputs_dir) for entry in spec.tasks)
    return spec.model_copy(update={"tasks": entries})


def _copied(entry: TaskEntry, folder: Path) -> TaskEntry:
    source = Path(entry.source)
    if not source.is_absolute() or source.is_relative_to(folder):
        return entry
    name = load_task(entry.source, name=entry.name).name
    target = folder / content_name(source)
    try:
        if not target.exists():
            folder.mkdir(parents=True, exist_ok=True)
            aside = folder / f".{target.name}.{os.getpid()}"
            if source.is_dir():
                shutil.copytree(source, aside)
            else:
                shutil.copyfile(source, aside)
            aside.rename(target)
    except OSError as err:
        raise InputError(f"task {entry.source} can't be copied to {target}: {err.strerror}") from err
    return TaskEntry(source=str(target), name=name)


def content_name(source: Path) -> str:
    """Return 16 digits of the hash of a file or folder, and the ending that says how to read it."""
    hasher = hashlib.sha256()
    for path in files_of(source) if source.is_dir() else [source]:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").digest()
        hasher.update(path.relative_to(source).as_posix().encode() + b"\0" + content)
    return hasher.hexdigest()[:16] + ("" if source.is_dir() else source.suffix.lower())


def files_of(folder: Path) -> list[Path]:
    """Return all files under a folder, in the order of their paths."""
    return sorted(path for path in folder.rglob("*") if path.is_file())
