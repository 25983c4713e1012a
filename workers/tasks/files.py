"""Rows out of files: JSON Lines, CSV, Parquet. What can't be read is noted by line."""

import codecs
import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

from orchestrator.contracts import InputError
from workers.tasks.faults import Faults
from workers.tasks.rows import COLUMNS, Row, why_no_form


def read_file(source: str, path: Path, faults: Faults) -> list[Row]:
    """Read a file's rows; bad lines are noted and left out.

    Args:
        source: The file, as the person named it.
        path: The file.
        faults: Takes what is wrong with single rows.

    Returns:
        The rows, in order.

    Raises:
        InputError: The file as a whole can't be used.
    """
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise InputError(f"{source} is of no kind known here; give a file named {', '.join(_READERS)}")
    try:
        if path.stat().st_size == 0:
            raise InputError(f"{source} is empty; give one row for every question with its answer")
        rows = read(source, path, faults)
    except OSError as error:
        raise InputError(f"{source} can't be read: {error.strerror or error}") from error
    return rows


def _read_jsonl(source: str, path: Path, faults: Faults) -> list[Row]:
    """Read one JSON object a line; only a line feed ends a line, and blank ones are passed over."""
    rows = []
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            content = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
            if not content.strip():
                continue
            try:
                values = _parse_object(content)
            except ValueError as error:
                faults.add(f"line {number}", str(error))
            else:
                rows.append(Row(f"line {number}", values))
    return rows


def _parse_object(line: bytes) -> dict[str, object]:
    """Parse a line that holds a JSON object, or raise ValueError with the reason why it does not."""
    try:
        values = json.loads(line.decode())
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 text (byte 0x{line[error.start]:02x} at {error.start + 1})") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at column {error.colno}") from error
    except RecursionError as error:
        raise ValueError("not usable JSON: nested too deeply") from error
    if not isinstance(values, dict):
        raise ValueError(f"must be a JSON object with question and answer, got {type(values).__name__}")
    return values


def _read_csv(source: str, path: Path, faults: Faults) -> list[Row]:
    return _read_separated(source, path, faults, ",")


def _read_tsv(source: str, path: Path, faults: Faults) -> list[Row]:
    return _read_separated(source, path, faults, "\t")


def _read_separated(source: str, path: Path, faults: Faults, delimiter: str) -> list[Row]:
    """Read a table with a header; an empty ``split`` or ``fact`` is none."""
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"{source}, line {line}: not UTF-8 text; save it as UTF-8") from error
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[Row] = []
    header: list[str] | None = None
    line = 1
    try:
        for cells in reader:
            place, line = f"line {line}", reader.line_num + 1
            if not cells:
                continue
            if header is None:
                header = [cell.strip() for cell in cells]
                refuse_columns(source, header)
            elif len(cells) != len(header):
                faults.add(
                    place,
                    f"{len(cells)} cells under {len(header)} columns; quote cells that hold a {delimiter!r}",
                )
            else:
                values = dict(zip(header, cells, strict=True))
                rows.append(Row(place, {k: v for k, v in values.items() if v or k not in ("split", "fact")}))
    except csv.Error as error:
        faults.add(f"line {line}", f"not CSV: {error}")
    return rows


def _read_parquet(source: str, path: Path, faults: Faults) -> list[Row]:
    import pyarrow
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
        names = list(file.schema_arrow.names)
        refuse_columns(source, names)
        table = file.read(columns=[name for name in COLUMNS if name in names])
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{source} is not readable Parquet: {' '.join(str(error).split())}") from error
    return [Row(f"row {number}", values) for number, values in enumerate(table.to_pylist(), start=1)]


def refuse_columns(source: str, names: list[str]) -> None:
    """Refuse a table whose columns can't be read, or not without doubt."""
    lacking = why_no_form(names)
    if lacking is not None:
        raise InputError(f"{source}, columns: {lacking}")
    twice = sorted({name for name in names if name in COLUMNS and names.count(name) > 1})
    if twice:
        raise InputError(f"{source} has more than one column {', '.join(twice)}; keep one of each")


_READERS: dict[str, Callable[[str, Path, Faults], list[Row]]] = {
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".parquet": _read_parquet,
}
