"""Folders that come into being whole: filled aside, synced, renamed."""

import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.contracts import InputError
from orchestrator.metadataset.durable import sync_folder


@contextmanager
def whole_folder(folder: Path, *, names: Collection[str], replace: bool) -> Iterator[Path]:
    """Give a folder aside to fill, and put it in place once that has ended well.

    Where an older folder is replaced, it is renamed before the new one takes its place; a death of the
    process just between the two leaves both beside it, under names that begin with a dot and its own.

    Args:
        folder: Where it comes to lie; missing, empty, or with ``replace`` an older one of its kind.
        names: File names that it may hold; a folder with any other is not one of its kind.
        replace: Whether an older one may be replaced.

    Yields:
        The folder to fill.

    Raises:
        InputError: The folder holds something that must stay, or can't be written.
    """
    _refuse_loss(folder, names, replace)
    aside, old = (folder.with_name(f".{folder.name}.{word}-{os.getpid()}") for word in ("new", "old"))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        try:
            yield aside
            _sync(aside)
            if folder.exists():
                os.replace(folder, old)
            os.replace(aside, folder)
            sync_folder(folder.parent)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as err:
        raise InputError(f"{folder} can't be written: {err.strerror or err}") from err


def _refuse_loss(folder: Path, names: Collection[str], replace: bool) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InputError(f"{folder} is a file; name a folder")
    held = sorted(path.name for path in folder.iterdir())
    foreign = [name for name in held if name not in names]
    if held and not replace:
        raise InputError(f"{folder} is not empty; name another folder, or replace it (--force)")
    if foreign:
        raise InputError(
            f"{folder} holds {foreign[0]}, which was not written by this command; move it away, or name "
            "another folder"
        )


def _sync(folder: Path) -> None:
    for path in folder.iterdir():
        with open(path, "rb") as file:
            os.fsync(file.fileno())
    sync_folder(folder)
