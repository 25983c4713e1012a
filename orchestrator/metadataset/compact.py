"""A root in few bytes: the same rows, one part a table, without logs, checkpoints and adapters.

Parts that grew by small commits hold some kilobytes a commit beside their rows. A finished root is written
again for others to have; the copy is a root like any other, verified, learned from and continued.
"""

import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from orchestrator.contracts import InputError
from orchestrator.metadataset.durable import Fault, make_folder_durably, no_fault, sync_folder, write_durably
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.lock import is_held
from orchestrator.metadataset.parts import GrowingPart, read_part
from orchestrator.metadataset.reader import MetaDatasetReader
from orchestrator.metadataset.schema import Table


def compact(root: Path, out: Path, *, fault: Fault = no_fault) -> Mapping[Table, int]:
    """Write a root again in one part a table; the copy appears whole or not at all.

    Args:
        root: A root at rest.
        out: The copy's folder; missing or empty.
        fault: Called before and after every step that writes.

    Returns:
        Rows by table.

    Raises:
        InputError: The root is being written, has rows that are in no part yet, or is none; or the folder is
            not empty.
        CorruptLedgerError: A part can't be read.
        OSError: The system refused.
    """
    layout = RootLayout(root)
    if not layout.sweep_yaml.is_file():
        raise InputError(f"{root} holds no sweep; name the root of one")
    if is_held(layout.lock_file):
        raise InputError(f"{root} is being written; wait until its driver has ended, or stop it")
    behind = MetaDatasetReader(root).unpublished_rows()
    if behind:
        raise InputError(
            f"{root} has {behind} rows that its driver died before it published; `foretune resume {root}` "
            "first"
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is not empty; choose a new or empty folder")
    aside = out.with_name(f".{out.name}.{secrets.token_hex(4)}")
    try:
        counts = _write(layout, RootLayout(aside), fault)
        fault("compact: before rename")
        aside.rename(out)
        sync_folder(out.parent)
        fault("compact: after rename")
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return counts


def _write(source: RootLayout, target: RootLayout, fault: Fault) -> dict[Table, int]:
    """Write all that a root is known by; its parts are numbered 0, and no log stands beside them."""
    make_folder_durably(target.revisions_dir, fault=fault)
    counts = {}
    for table in Table:
        make_folder_durably(target.table_dir(table), fault=fault)
        parts = [table.schema.empty_table(), *map(read_part, source.parts(table).values())]
        rows = pa.concat_tables(parts, promote_options="default").select(list(table.columns))
        counts[table] = rows.num_rows
        if rows.num_rows:
            GrowingPart(target, table, 0).publish(rows.cast(table.schema).combine_chunks(), fault)
    for number, path in source.revisions().items():
        write_durably(target.revision(number), path.read_bytes(), fault=fault, name="revision")
    write_durably(target.space_json, source.space_json.read_bytes(), fault=fault, name="space")
    # Last: the presence of the spec makes the folder a root.
    write_durably(target.sweep_yaml, source.sweep_yaml.read_bytes(), fault=fault, name="spec")
    return counts
