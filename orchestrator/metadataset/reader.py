"""Reading a meta-dataset: pandas frames, at any moment, without a lock."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa

from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.parts import count_part, read_part
from orchestrator.metadataset.schema import Table
from orchestrator.metadataset.segments import read_segment


class MetaDatasetReader:
    """Reads the tables of a root, also while they are written, and of a root that holds nothing yet.

    Every frame is whole commits only, in the order in which they landed. A frame read later begins with the
    rows of one read earlier, unchanged; what a trials row refers to is there if it is read after that row.

    Args:
        root: The root's folder.
    """

    def __init__(self, root: Path) -> None:
        self._layout = RootLayout(root)

    def curves(self, *, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the curve points, one row an epoch of a trial.

        Args:
            columns: Names of columns; None: all.

        Returns:
            The rows in the order of their commits.

        Raises:
            CorruptLedgerError: A part can't be read.
        """
        return self.table(Table.CURVES, columns=columns)

    def trials(self, *, expand: bool = False) -> pd.DataFrame:
        """Return the finished trials, one row each: of a trial that was trained further, the newest.

        Args:
            expand: Whether to add a column ``config.NAME`` for every hyperparameter; missing where inactive.

        Returns:
            The rows in the order of their commits.

        Raises:
            CorruptLedgerError: A part can't be read.
        """
        trials = newest_results(self.table(Table.TRIALS))
        return _expanded(trials, "config") if expand else trials

    def tasks(self, *, expand: bool = False) -> pd.DataFrame:
        """Return the described tasks, one row each.

        Args:
            expand: Whether to add a column ``meta_features.NAME`` for every meta-feature; missing where null.

        Returns:
            The rows in the order of their commits.

        Raises:
            CorruptLedgerError: A part can't be read.
        """
        tasks = self.table(Table.TASKS)
        return _expanded(tasks, "meta_features") if expand else tasks

    def attempts(self) -> pd.DataFrame:
        """Return the journal of attempts, one row an event, in the order of their commits."""
        return self.table(Table.ATTEMPTS)

    def table(self, table: Table, *, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return a table.

        Args:
            table: Which.
            columns: Names of columns; None: all.

        Returns:
            The rows in the order of their commits.

        Raises:
            CorruptLedgerError: A part can't be read.
        """
        empty = table.schema.empty_table()
        parts = [empty if columns is None else empty.select(list(columns))]
        parts += [read_part(path, columns) for path in self._layout.parts(table).values()]
        frame: pd.DataFrame = pa.concat_tables(parts, promote_options="default").to_pandas()
        if frame.empty:
            # As Arrow hands them over, text columns without rows make pandas 3.1 fail in merges.
            return pd.DataFrame({name: pd.Series([], dtype=dtype) for name, dtype in frame.dtypes.items()})
        return frame

    def unpublished_rows(self) -> int:
        """Return how many committed rows the tables do not show yet; 0 after a driver ended in good order."""
        behind = 0
        for number, path in self._layout.segments().items():
            try:
                logged = Counter(table for table, _ in read_segment(path, number).rows)
            except FileNotFoundError:
                continue  # sealed since: all its rows are in parts
            for table, rows in logged.items():
                part = self._layout.part(table, number)
                behind += max(0, rows - (count_part(part) if part.exists() else 0))
        return behind


def newest_results(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a trials table that no later row of the same trial supersedes."""
    return trials.drop_duplicates("trial_id", keep="last").reset_index(drop=True)


def _expanded(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """Append one column for every name in a column of JSON objects."""
    objects = [json.loads(text) for text in frame[column]]
    names = sorted({name for content in objects for name in content})
    added = {f"{column}.{name}": [content.get(name) for content in objects] for name in names}
    return pd.concat([frame, pd.DataFrame(added, index=frame.index)], axis=1)
