"""Proving a meta-dataset: nothing missing, doubled or mislabelled; or that two hold the same results.

Reads only. Of a root at rest the answer is final; of one that is being written it is worthless, and says so.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from orchestrator.contracts import METRIC_COLUMNS, CorruptLedgerError, TrialId
from orchestrator.metadataset.certificate import SHOWN, Certificate, Check, check
from orchestrator.metadataset.checks import Tables, check_keys, check_tables
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.lock import is_held
from orchestrator.metadataset.parts import read_part
from orchestrator.metadataset.reader import MetaDatasetReader
from orchestrator.metadataset.schema import Table
from orchestrator.metadataset.segments import LogRow, SegmentContent, read_segment
from orchestrator.metadataset.tail import arrow_table

__all__ = ["Certificate", "Check", "compare", "verify"]

_NAN_BITS = np.float64("nan").view(np.int64)


def verify(root: Path, planned: Mapping[TrialId, int] | None = None) -> Certificate:
    """Examine everything that a root must hold true.

    Args:
        root: The root's folder.
        planned: Epochs planned for each trial, all of which must have their outcome; None: not known.

    Returns:
        The certificate; it names the first offending rows of every claim that does not hold.
    """
    layout = RootLayout(root)
    held = is_held(layout.lock_file)
    checks = [_check_parts(layout), _check_strangers(layout)]
    counts: dict[str, int] = {}
    if checks[0].ok:
        tables = _load(root)
        counts = {str(table): len(tables.frames[table]) for table in Table}
        counts |= {
            f"{outcome} trials": int(n) for outcome, n in tables.trials["outcome"].value_counts().items()
        }
        checks += [*check_tables(tables, planned), *_check_log(layout)]
    held = held or is_held(layout.lock_file)
    return Certificate(
        subject=str(root), checks=tuple(checks), counts=counts, being_written=(str(root),) if held else ()
    )


def compare(root_a: Path, root_b: Path) -> Certificate:
    """Examine whether two roots hold the same results, bit for bit, however they came by them.

    Args:
        root_a: One root.
        root_b: The other.

    Returns:
        The certificate; claims are about trials, outcomes, epochs and ``METRIC_COLUMNS``, not about costs.
    """
    roots = (root_a, root_b)
    held = {root for root in roots if is_held(RootLayout(root).lock_file)}
    checks = [_check_parts(RootLayout(root), prefix=f"{root}: ") for root in roots]
    counts: dict[str, int] = {}
    if all(item.ok for item in checks):
        a, b = _load(root_a), _load(root_b)
        checks = [
            check_keys(table, side.frames[table]) for side in (a, b) for table in (Table.TRIALS, Table.CURVES)
        ]
        checks += [_compare_trials(a, b), *_compare_curves(a, b)]
        counts = {"trials": len(a.trials), "curves": len(a.curves)}
    held |= {root for root in roots if is_held(RootLayout(root).lock_file)}
    return Certificate(
        subject=f"{root_a} against {root_b}",
        checks=tuple(checks),
        counts=counts,
        being_written=tuple(sorted(map(str, held))),
    )


def _load(root: Path) -> Tables:
    reader = MetaDatasetReader(root)
    return Tables({table: reader.table(table) for table in Table})


def _check_parts(layout: RootLayout, prefix: str = "") -> Check:
    """Read every page of every part against its checksum."""
    offenders: list[dict[str, Any]] = []
    paths = [path for table in Table for path in layout.parts(table).values()]
    for path in paths:
        try:
            read_part(path)
        except CorruptLedgerError as err:
            offenders.append({"part": path.relative_to(layout.root), "reason": err.reason})
    return check(f"{prefix}every part can be read, and its checksums hold", len(paths), offenders)


def _check_strangers(layout: RootLayout) -> Check:
    strangers = [
        {"file": path.relative_to(layout.root)} for table in Table for path in layout.strangers(table)
    ]
    parts = sum(len(layout.parts(table)) for table in Table)
    return check("the tables' folders hold parts and nothing else", parts + len(strangers), strangers)


def _check_log(layout: RootLayout) -> list[Check]:
    """Compare the log with the parts that were made from it."""
    claim = "the log can be read, and every committed row stands in its part"
    segments = layout.segments()
    try:
        contents = {number: read_segment(path, number) for number, path in segments.items()}
    except CorruptLedgerError as err:
        return [check(claim, len(segments), [{"file": err.path, "reason": err.reason}])]
    offenders: list[dict[str, Any]] = []
    for number, content in contents.items():
        offenders += _unlike_log(layout, number, content.rows)
    checks = [check(claim, sum(len(content.rows) for content in contents.values()), offenders)]
    if contents:
        checks.append(_check_sealed(layout, min(contents), contents[min(contents)]))
    return checks


def _unlike_log(layout: RootLayout, number: int, rows: list[LogRow]) -> list[dict[str, Any]]:
    offenders: list[dict[str, Any]] = []
    for table in Table:
        path = layout.part(table, number)
        logged = arrow_table(table, [row for name, row in rows if name is table])
        part = read_part(path) if path.exists() else table.schema.empty_table()
        if part.num_rows != logged.num_rows:
            reason = f"it holds {part.num_rows} rows, its log {logged.num_rows}"
            offenders.append({"part": path.relative_to(layout.root), "reason": reason})
        shared = min(part.num_rows, logged.num_rows)
        pairs = zip(part.slice(0, shared).to_pylist(), logged.slice(0, shared).to_pylist(), strict=True)
        # As text: it tells every two floats apart, and takes NaN for NaN.
        unequal = [ours for ours, theirs in pairs if repr(ours) != repr(theirs)]
        offenders += [
            {"part": path.relative_to(layout.root), **{k: row[k] for k in table.key}} for row in unequal
        ]
    return offenders


def _check_sealed(layout: RootLayout, first: int, content: SegmentContent) -> Check:
    found = {
        (table, number): read_part(path, table.key).num_rows
        for table in Table
        for number, path in layout.parts(table).items()
        if number < first
    }
    due = {
        (table, number): rows for table, counts in content.sealed.items() for number, rows in counts.items()
    }
    offenders = [
        {
            "part": layout.part(*key).relative_to(layout.root),
            "rows": found.get(key),
            "sealed_with": due.get(key),
        }
        for key in sorted(found.keys() | due.keys())
        if found.get(key) != due.get(key)
    ]
    return check("every sealed part holds the rows it was sealed with", len(due), offenders)


def _compare_trials(a: Tables, b: Tables) -> Check:
    columns = ["trial_id", "outcome", "epochs"]
    left, right = (side.results[columns].drop_duplicates("trial_id") for side in (a, b))
    both = left.merge(right, on="trial_id", how="outer", suffixes=("_a", "_b"))
    same = (both["outcome_a"] == both["outcome_b"]) & (both["epochs_a"] == both["epochs_b"])
    claim = "both hold the same trials with the same outcomes and epochs"
    return check(claim, len(both), _records(both[~same]))


def _compare_curves(a: Tables, b: Tables) -> list[Check]:
    key = list(Table.CURVES.key)
    left, right = (side.curves[[*key, *METRIC_COLUMNS]].drop_duplicates(key) for side in (a, b))
    both = left.merge(right, on=key, how="outer", suffixes=("_a", "_b"), indicator=True)
    both["only_in"] = both["_merge"].map({"left_only": "a", "right_only": "b"})
    lonely = both[both["_merge"] != "both"]
    shared = left.merge(right, on=key, suffixes=("_a", "_b"))
    differs = {name: _bits(shared[f"{name}_a"]) != _bits(shared[f"{name}_b"]) for name in METRIC_COLUMNS}
    wrong = np.flatnonzero(np.logical_or.reduce(list(differs.values())))
    offenders = [
        {
            **_cells(shared, row, key),
            **_cells(shared, row, [f"{n}_{s}" for n in differs if differs[n][row] for s in "ab"]),
        }
        for row in wrong[:SHOWN]
    ]
    values = check("their metrics are equal, bit for bit", len(shared), offenders)
    return [
        check("both hold the same curve points", len(both), _records(lonely[[*key, "only_in"]])),
        Check(claim=values.claim, examined=values.examined, offending=len(wrong), first=values.first),
    ]


def _cells(frame: pd.DataFrame, row: int, columns: Sequence[str]) -> dict[str, Any]:
    return {name: frame[name].iloc[row] for name in columns}


def _bits(values: pd.Series) -> npt.NDArray[np.int64]:
    """Return what tells any two values apart, with one pattern for all NaNs."""
    array = values.to_numpy()
    if array.dtype.kind != "f":
        return array.astype(np.int64)
    bits = array.astype(np.float64).view(np.int64).copy()
    bits[np.isnan(array)] = _NAN_BITS
    return bits


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]
