"""The newest segment's rows in memory, and the parts that are made from them."""

import pyarrow as pa

from orchestrator.metadataset.durable import Fault
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.parts import GrowingPart
from orchestrator.metadataset.rows import Row
from orchestrator.metadataset.schema import Table


class Tail:
    """Committed rows of one segment, by table, in the order of the log.

    Args:
        layout: Names the parts.
        number: The segment's; the first one's parts exist even without rows, so that all tables can be read.
    """

    def __init__(self, layout: RootLayout, number: int) -> None:
        self._is_first = number == 0
        self._arrow = {table: table.schema.empty_table() for table in Table}
        self._fresh: dict[Table, list[Row]] = {table: [] for table in Table}
        """Rows that were not turned to Arrow yet: each is turned once, however often its part is written."""
        self.parts = {table: GrowingPart(layout, table, number) for table in Table}

    def add(self, table: Table, row: Row) -> None:
        """Take in a committed row."""
        self._fresh[table].append(row)

    def count(self, table: Table) -> int:
        """Return a table's rows."""
        return int(self._arrow[table].num_rows) + len(self._fresh[table])

    def counts(self) -> dict[Table, int]:
        """Return the rows of every part, once all are published."""
        return {table: part.rows for table, part in self.parts.items() if part.exists}

    def is_full(self, *, rows: int, size_bytes: int) -> bool:
        """Return whether a table has at least so many rows, or its part so many bytes."""
        return any(self.count(t) >= rows or part.size_bytes >= size_bytes for t, part in self.parts.items())

    def publish(self, fault: Fault) -> None:
        """Bring the parts up to these rows; those come first that rows of others refer to.

        Args:
            fault: Called before and after every step.

        Raises:
            OSError: The system refused; what was published stands, and the call may be made again.
        """
        for table, part in self.parts.items():
            if part.rows < self.count(table) or (self._is_first and not part.exists):
                part.publish(self.arrow(table), fault)

    def arrow(self, table: Table) -> pa.Table:
        """Return a table's rows as Arrow."""
        fresh = self._fresh[table]
        if fresh:
            added = arrow_table(table, fresh)
            self._arrow[table] = pa.concat_tables([self._arrow[table], added]).combine_chunks()
            self._fresh[table] = []
        return self._arrow[table]


def arrow_table(table: Table, rows: list[Row]) -> pa.Table:
    """Return rows as an Arrow table of the table's schema."""
    if not rows:
        return table.schema.empty_table()
    columns = [
        pa.array(values, type=field.type)
        for values, field in zip(zip(*rows, strict=True), table.schema, strict=True)
    ]
    return pa.table(columns, schema=table.schema)
