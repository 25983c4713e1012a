"""How much there is to learn from, asked often: of a sweep's root, or of a folder of tables."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.contracts import CorruptLedgerError
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.parts import count_part
from orchestrator.metadataset.schema import Table
from surrogates.data.store import is_tables


def count_rows(root: Path) -> int:
    """Return how much is on record: finished trials of a sweep, rows of a folder of tables.

    Args:
        root: A sweep's root or a folder of tables.

    Returns:
        The count; cheap enough to be asked every few seconds.

    Raises:
        CorruptLedgerError: A file can't be read.
    """
    if not is_tables(root):
        return sum(count_part(path) for path in RootLayout(root).parts(Table.TRIALS).values())
    rows = 0
    for path in sorted(root.glob("*.parquet")):
        try:
            rows += int(pq.read_metadata(path).num_rows)
        except (pa.ArrowException, OSError) as err:
            raise CorruptLedgerError(str(path), f"it can't be read as Parquet ({err})") from err
    return rows
