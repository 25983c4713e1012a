"""Curve tables of other tools: into a folder of tables, and out of one or of a sweep's root."""

import enum
import os
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from orchestrator.contracts import InputError
from orchestrator.metadataset.compact import compact
from surrogates.data.space import Space
from surrogates.data.store import read_meta, write_tables
from surrogates.interchange.optuna_export import export_optuna
from surrogates.interchange.optuna_import import import_optuna
from surrogates.interchange.qtt import import_qtt
from surrogates.interchange.qtt_export import export_qtt
from surrogates.interchange.records import Reading
from surrogates.interchange.synetune import import_synetune
from surrogates.interchange.synetune_export import export_synetune
from surrogates.metadataset import MetaDataset


class Foreign(enum.StrEnum):
    """Formats of other tools."""

    SYNETUNE = "synetune"
    QTT = "qtt"
    OPTUNA = "optuna"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What an import or an export has read and written."""

    out: str
    files: tuple[str, ...]
    """In the folder; none named where it is a folder of tables."""
    metric: str
    direction: str
    tasks: int
    configs: int
    trials: int
    failures: int
    """Of the trials."""
    points: int
    max_epochs: int
    notes: tuple[str, ...]
    """What was left out, changed or assumed, each with why."""

    def as_dict(self) -> dict[str, Any]:
        """Return the record as JSON-like values."""
        return asdict(self)

    def render(self) -> str:
        """Return the record as lines to read."""
        lines = [
            f"{self.tasks} tasks, {self.configs} configs, {self.trials} trials ({self.failures} failures), "
            f"{self.points} points up to epoch {self.max_epochs}; {self.metric}, {self.direction}d",
            *(f"note: {note}" for note in self.notes),
            f"written to {self.out}" + (f": {', '.join(self.files)}" if self.files else ""),
        ]
        return "\n".join(lines)


def import_tables(
    source: str,
    fmt: Foreign,
    out: Path,
    reading: Reading,
    *,
    studies: list[str] | None = None,
    force: bool = False,
) -> Exchange:
    """Read another tool's curves and write them as a folder of tables.

    Args:
        source: A folder; for Optuna also a file or a storage's URL.
        fmt: What it holds.
        out: The folder of tables; missing or empty.
        reading: What the source doesn't say.
        studies: Optuna's studies to read; None: all.
        force: Whether a folder of tables that is there is replaced.

    Returns:
        What was read and written.

    Raises:
        InputError: The source can't be read, or the folder can't be written; then nothing is.
    """
    if fmt is Foreign.SYNETUNE:
        imported = import_synetune(Path(source), reading)
    elif fmt is Foreign.QTT:
        imported = import_qtt(Path(source), reading)
    else:
        imported = import_optuna(source, reading, studies=studies or ())
    provenance = {"format": fmt.value, "source": _without_password(source), "foretune": version("foretune")}
    write_tables(imported.meta, out, provenance=provenance, replace=force)
    return _exchange(imported.meta, out, (), imported.notes)


def export_tables(
    source: Path, fmt: Foreign, out: Path, *, metric: str | None = None, force: bool = False
) -> Exchange:
    """Write a sweep's root or a folder of tables in another tool's format.

    Args:
        source: A sweep's root, or a folder of tables.
        fmt: What to write.
        out: The folder for it; missing or empty.
        metric: What decides; None: what the tables say, and ``eval_loss`` of a root.
        force: Whether an earlier export that is there is replaced.

    Returns:
        What was read and written.

    Raises:
        InputError: The source can't be read, or the folder can't be written; then nothing is.
        NothingLearnedError: No trial of the root has finished yet.
    """
    meta = read_meta(source, metric)
    write = {Foreign.SYNETUNE: export_synetune, Foreign.QTT: export_qtt, Foreign.OPTUNA: export_optuna}[fmt]
    exported = write(meta, out, replace=force)
    return _exchange(meta, out, exported.files, exported.notes)


def export_root(source: Path, out: Path) -> Exchange:
    """Write a finished sweep's root again in few bytes, one part a table; see ``metadataset.compact``.

    Args:
        source: The root.
        out: The copy's folder; missing or empty.

    Returns:
        What was read and written.

    Raises:
        InputError: The root is none, is being written, or the folder can't be written.
        NothingLearnedError: No trial has finished yet.
    """
    meta = MetaDataset.from_root(source)
    try:
        compact(source, out)
    except OSError as err:
        raise InputError(f"{out} can't be written: {os.strerror(err.errno or 0)}") from err
    files = tuple(str(path.relative_to(out)) for path in sorted(out.rglob("*.*")) if path.is_file())
    return _exchange(meta, out, files, ("logs, checkpoints and adapters are not copied",))


def load_features(path: Path) -> pd.DataFrame:
    """Read meta-features: a CSV file whose first column names the tasks."""
    try:
        frame = pd.read_csv(path, dtype={0: str})
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as err:
        raise InputError(f"{path} can't be read as a CSV table: {err}") from err
    return frame.rename(columns={frame.columns[0]: "task_id"})


def load_space(path: Path) -> Space:
    """Read a declared space: ConfigSpace's own JSON."""
    try:
        return Space.from_json(path.read_text())
    except (OSError, UnicodeDecodeError) as err:
        raise InputError(f"{path} can't be read: {err}") from err


def _exchange(meta: MetaDataset, out: Path, files: tuple[str, ...], notes: tuple[str, ...]) -> Exchange:
    return Exchange(
        out=str(out),
        files=files,
        metric=meta.metric,
        direction=meta.direction.value,
        tasks=len(meta.tasks),
        configs=len(meta.configs),
        trials=len(meta.trials),
        failures=int(meta.trials["is_failure"].sum()),
        points=len(meta.points),
        max_epochs=meta.max_epochs,
        notes=notes,
    )


def _without_password(source: str) -> str:
    """Return a source without the name and password that a URL may hold."""
    scheme, separator, rest = source.partition("://")
    return scheme + separator + rest.rpartition("@")[2] if separator else source
