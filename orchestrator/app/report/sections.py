"""A section of the report: words, tables and pictures."""

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.app.report.html import Content, Html, join, tag
from orchestrator.app.report.pictures import Picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One section, in the order of the page."""

    anchor: str
    title: str
    body: Html
    pictures: tuple[Picture, ...] = ()


def frame(picture: Picture) -> Html:
    """Return where a picture is drawn, with its caption and what it is for those who can't see it."""
    place = tag(
        "div",
        class_="plot",
        role="img",
        aria_label=picture.alt,
        data_figure=picture.name,
        data_webgl=picture.needs_webgl,
        style=f"height:{picture.height}px"
        + (f";min-width:{picture.min_width}px" if picture.min_width else ""),
    )
    title = tag("h3", picture.title) if picture.title else Html("")
    caption = tag("figcaption", picture.caption) if picture.caption else Html("")
    return tag("figure", title, tag("div", place, class_="scroll"), caption)


def grid(pictures: Sequence[Picture], *, wide: bool = False) -> Html:
    """Return small pictures side by side, as many as the page is wide."""
    return tag("div", *map(frame, pictures), class_="grid wide" if wide else "grid")


def paragraph(*content: Content) -> Html:
    """Return a paragraph."""
    return tag("p", *content)


def details(summary: str, *content: Content) -> Html:
    """Return what is folded away until it is asked for; print shows what is open."""
    return tag("details", tag("summary", summary), join(content))


def key(entries: Sequence[tuple[str, str, str]]) -> Html:
    """Return a legend for several pictures: colour, dash (``solid``, ``dashed`` or ``cross``) and meaning."""
    items = [
        tag("li", tag("span", class_=f"swatch {dash}", style=f"--c:{colour}", aria_hidden="true"), meaning)
        for colour, dash, meaning in entries
    ]
    return tag("ul", *items, class_="key")
