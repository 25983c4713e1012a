"""Tables of a comparison, for people and as Markdown."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from surrogates.evaluation.ours import OURS
from surrogates.evaluation.statistics import Interval, Paired

Titled = tuple[str, list[str], list[list[str]]]
"""Title, columns and rows of a table."""

_LONGEST_WORD = 20
"""Characters of a method's or task's name that are never broken."""


def render_tables(
    head: str, tables: Sequence[Titled], legend: str, notes: Sequence[str], out: Path
) -> RenderableType:
    """Return tables for people.

    Args:
        head: What was compared, in a sentence.
        tables: The row of ours is set in bold.
        legend: How to read them.
        notes: What is missing, and why.
        out: Where everything lies.

    Returns:
        What a console prints.
    """
    shown: list[RenderableType] = [Text(head)]
    for title, columns, rows in tables:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", title=title, title_justify="left")
        words = [len(word) for row in rows for word in row[0].split()]
        table.add_column(columns[0], min_width=min(max(words, default=1), _LONGEST_WORD), overflow="fold")
        for column in columns[1:]:
            table.add_column(column, justify="right", no_wrap=True)
        for row in rows:
            table.add_row(*row, style="bold" if row[0] == OURS else None)
        shown.append(table)
    return Group(*shown, Text(legend), *(Text(f"note: {note}") for note in notes), Text(f"written to {out}"))


def markdown_tables(
    title: str, head: str, tables: Sequence[Titled], legend: str, notes: Sequence[str]
) -> str:
    """Return tables as a page of Markdown; arguments as ``render_tables`` has them."""
    parts = [f"# {title}", head + ".", legend]
    for name, columns, rows in tables:
        lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
        parts += [f"## {name}", "\n".join("| " + " | ".join(line) + " |" for line in lines)]
    if notes:
        parts += ["## Notes", "\n".join(f"- {note}" for note in notes)]
    return "\n\n".join(parts) + "\n"


def shown_interval(interval: Interval) -> str:
    """Return a mean with its interval."""
    return f"{interval.mean:.3f} ({interval.low:.2f}-{interval.high:.2f})"


def shown_against(found: Paired | None) -> str:
    """Return wins, ties, losses and the corrected p; nothing where there was no comparison."""
    return "" if found is None else f"{found.wins}-{found.ties}-{found.losses} {found.p_holm:.2f}"


def counted(count: int, what: str) -> str:
    """Return a number of things in words."""
    return f"{count} {what}" + ("" if count == 1 else "s")
