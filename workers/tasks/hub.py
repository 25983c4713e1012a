"""Rows out of Hugging Face data sets: on the hub, or in a folder saved by ``datasets.save_to_disk``."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.contracts import InputError
from workers.tasks.files import refuse_columns
from workers.tasks.rows import COLUMNS, Row

SCHEME = "hf:"
_COMMIT = re.compile(r"@([0-9a-f]{40})/")
"""In the addresses of a data set's files."""
_REFERENCE = re.compile(
    r"hf:(?P<id>[A-Za-z0-9][\w.-]*(?:/[\w.-]+)?)(?:@(?P<revision>[^@:]+))?(?::(?P<config>[^@:]+))?"
)


def hub_name(source: str) -> str:
    """Return a hub task's name unless told otherwise: of ``hf:openai/gsm8k:main`` it is ``gsm8k-main``."""
    found = _match(source)
    return "-".join([found["id"].rpartition("/")[2], *([found["config"]] if found["config"] else [])])


def read_hub(source: str) -> tuple[list[Row], str | None]:
    """Read a data set of the hub, from the local cache where it is there.

    Args:
        source: ``hf:ID``, ``hf:ID@REVISION`` or either with ``:CONFIG`` behind it.

    Returns:
        The rows of all splits, in order; and the commit they are of, or what was asked for where the data set
        does not tell.

    Raises:
        InputError: The reference is malformed, the data set can't be had, or its columns can't be read.
    """
    found = _match(source)
    import datasets

    try:
        loaded = datasets.load_dataset(found["id"], name=found["config"], revision=found["revision"])
    except Exception as error:  # the transports behind it (requests, httpx, fsspec) have no common root
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise InputError(
            f"{source} can't be loaded ({reason}); check id, revision and config, or download it first, save "
            "it with datasets.save_to_disk and name that folder"
        ) from error
    return read_splits(source, loaded), revision_of(loaded) or found["revision"]


def revision_of(loaded: Any) -> str | None:
    """Return the hub commit whose files a data set remembers to be made from; None if it remembers none."""
    tables = loaded.values() if isinstance(loaded, Mapping) else [loaded]
    for table in tables:
        for file in table.info.download_checksums or {}:
            found = _COMMIT.search(file)
            if found:
                return found[1]
    return None


def read_saved(source: str, folder: Path) -> list[Row]:
    """Read a folder written by ``datasets.save_to_disk``.

    Args:
        source: The folder, as the person named it.
        folder: The folder.

    Returns:
        The rows of all splits, in order.

    Raises:
        InputError: The folder holds no such data set, or its columns can't be read.
    """
    if not any((folder / name).is_file() for name in ("dataset_dict.json", "state.json")):
        raise InputError(
            f"{source} is a folder, but none saved by datasets.save_to_disk; name such a folder, or one file"
        )
    import datasets

    try:
        loaded = datasets.load_from_disk(str(folder))
    except (OSError, ValueError, LookupError, TypeError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise InputError(f"{source} is no readable data set: {reason}") from error
    return read_splits(source, loaded)


def read_splits(source: str, loaded: Any) -> list[Row]:
    """Read a ``Dataset``, or a ``DatasetDict`` whose splits, if it has several, are the rows' splits.

    Args:
        source: The data set, as the person named it.
        loaded: The data set.

    Returns:
        The rows of all splits, in order. Columns that can't be read are refused.
    """
    splits: Mapping[str, Any] = loaded if isinstance(loaded, Mapping) else {"train": loaded}
    rows = []
    for split, table in splits.items():
        names = table.column_names
        refuse_columns(f"{source}, split {split}" if len(splits) > 1 else source, names)
        chosen = table.select_columns([name for name in COLUMNS if name in names])
        named = {"split": split} if len(splits) > 1 else {}
        rows += [
            Row(f"{split} row {number}", {**values, **named}) for number, values in enumerate(chosen, start=1)
        ]
    return rows


def _match(source: str) -> re.Match[str]:
    found = _REFERENCE.fullmatch(source)
    if found is None:
        raise InputError(
            f"{source!r} names no data set of the hub; write {SCHEME}ID, with @REVISION and :CONFIG behind "
            f"it where needed, such as {SCHEME}openai/gsm8k:main"
        )
    return found
