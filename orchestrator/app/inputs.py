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
    target = folder / f"{_content_hash(source)}-{source.name}"
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


def _content_hash(source: Path) -> str:
    files = sorted(path for path in source.rglob("*") if path.is_file()) if source.is_dir() else [source]
    whole = hashlib.sha256()
    for path in files:
        name = path.relative_to(source).as_posix() if path != source else ""
        whole.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()[:12]
