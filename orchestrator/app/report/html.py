"""HTML in which every text is escaped unless it is HTML already."""

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class Html(str):
    """Text that is HTML already and is not escaped again."""

    __slots__ = ()


Content = Html | str | int
"""What an element may hold; a plain text is escaped."""

_VOID = frozenset({"br", "hr", "img", "link", "meta"})


def escape(content: Content) -> Html:
    """Return content as HTML."""
    return content if isinstance(content, Html) else Html(html.escape(str(content), quote=True))


def join(parts: Iterable[Content], between: str = "") -> Html:
    """Return several contents as one."""
    return Html(between.join(escape(part) for part in parts))


def tag(name: str, /, *content: Content, **attributes: Content | bool | None) -> Html:
    """Return an element.

    Args:
        name: Its tag.
        *content: What it holds.
        **attributes: By name, a trailing ``_`` dropped and others turned to ``-``: ``class_``, ``data_sort``.
            True: without a value; False or None: left out.

    Returns:
        The element, everything in it escaped.
    """
    written = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{escape(value)}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in _VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{join(content)}</{name}>")


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table."""

    shown: Content
    order: float | None = None
    """What the column is sorted by, where that is not the text."""
    is_code: bool = False


Row = list[Cell | Content]
"""One row of a table, a cell a column."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    title: str
    is_number: bool = False
    """Right-aligned, and sorted as numbers."""
    is_long: bool = False
    """Holds sentences, which need room."""

    @property
    def style(self) -> str | None:
        """Its class in the style sheet."""
        return "number" if self.is_number else "long" if self.is_long else None


def table(caption: Content, columns: Sequence[Column], rows: Sequence[Row]) -> Html:
    """Return a table whose columns a reader can sort by.

    Args:
        caption: What it shows, in which unit and order.
        columns: Its columns.
        rows: Their cells.

    Returns:
        The table, in a box that scrolls where the page is narrow.
    """
    head = tag(
        "tr",
        *(tag("th", column.title, scope="col", class_=column.style) for column in columns),
    )
    body = [
        tag("tr", *(_cell(cell, column) for cell, column in zip(row, columns, strict=True))) for row in rows
    ]
    whole = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", *body), class_="sortable")
    return tag("div", whole, class_="scroll", tabindex="0")


def _cell(content: Cell | Content, column: Column) -> Html:
    cell = content if isinstance(content, Cell) else Cell(content)
    shown = tag("code", cell.shown) if cell.is_code else cell.shown
    order = None if cell.order is None else f"{cell.order!r}"
    return tag("td", shown, class_=column.style, data_order=order)


def facts(rows: Sequence[tuple[str, Content]]) -> Html:
    """Return names and what is known of them, as a list of definitions."""
    return tag(
        "dl", *(part for name, said in rows for part in (tag("dt", name), tag("dd", said))), class_="facts"
    )


def note(*content: Content) -> Html:
    """Return a remark that a reader should not pass over."""
    return tag("p", *content, class_="note")
