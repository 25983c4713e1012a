"""Passages: parts of documents that a model reads at a time, cut where the text pauses."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from workers.documents.reading import Document

_BLANK_LINES = re.compile(r"\n[^\S\n]*\n\s*")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])")
_SEAM = "\n\n"
_HEADING = re.compile(r"#{1,6}\s+(?P<words>[^\n]*?)\s*#*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A part of a document."""

    document: str
    number: int
    """From 1, within the document."""
    heading: str | None
    """The last Markdown heading at or above its beginning."""
    text: str

    @property
    def title(self) -> str:
        """What a model is told about where the passage stands."""
        return self.document if self.heading is None else f"{self.document}, under {self.heading!r}"


@dataclass(frozen=True, slots=True)
class _Unit:
    """What is not torn apart: a part of a paragraph, behind the headings that announce it."""

    text: str
    heading: str | None
    """In force from here on."""
    begins_section: bool


def split_passages(document: Document, *, most_chars: int) -> list[Passage]:
    """Cut a document into passages, at headings and paragraphs, else at sentences, else between words.

    Args:
        document: The document.
        most_chars: Length of a passage at most.

    Returns:
        The passages, in order: all of the text but for white space. None begins in the middle of a paragraph
        that fits into one. A heading stands before what it announces, and begins a passage where the one
        before is at least half full.
    """
    passages: list[Passage] = []
    held: list[_Unit] = []

    def close() -> None:
        text = _SEAM.join(unit.text for unit in held)
        passages.append(
            Passage(document=document.name, number=len(passages) + 1, heading=held[0].heading, text=text)
        )
        held.clear()

    for unit in _units(document.text, most_chars):
        length = sum(len(other.text) + len(_SEAM) for other in held)
        if held and (
            length + len(unit.text) > most_chars or (unit.begins_section and 2 * length > most_chars)
        ):
            close()
        held.append(unit)
    if held:
        close()
    return passages


def _units(text: str, most_chars: int) -> Iterator[_Unit]:
    heading: str | None = None
    waiting: list[_Unit] = []
    for block in _blocks(text, most_chars):
        if found := _HEADING.fullmatch(block):
            heading = found["words"] or heading
            waiting.append(_Unit(block, heading, begins_section=True))
            continue
        whole = _SEAM.join([*(unit.text for unit in waiting), block])
        if len(whole) <= most_chars:
            yield _Unit(whole, heading, begins_section=bool(waiting))
        else:
            yield from waiting
            yield _Unit(block, heading, begins_section=False)
        waiting = []
    yield from waiting


def _blocks(text: str, most_chars: int) -> Iterator[str]:
    """Yield headings and paragraphs, the ones too long in parts."""
    for paragraph in _BLANK_LINES.split(text.strip()):
        lines: list[str] = []
        for line in paragraph.split("\n"):
            if _HEADING.fullmatch(line.strip()):
                yield from _parts("\n".join(lines).strip(), most_chars)
                yield from _parts(line.strip(), most_chars)
                lines = []
            else:
                lines.append(line)
        yield from _parts("\n".join(lines).strip(), most_chars)


def _parts(paragraph: str, most_chars: int) -> Iterator[str]:
    """Yield a paragraph, cut at sentences, else between words, else anywhere."""
    if len(paragraph) <= most_chars:
        yield from [paragraph] if paragraph else []
        return
    held = ""
    for piece in _pieces(paragraph, most_chars):
        if held and len(held) + 1 + len(piece) > most_chars:
            yield held
            held = ""
        held = f"{held} {piece}" if held else piece
    yield held


def _pieces(paragraph: str, most_chars: int) -> Iterator[str]:
    """Yield sentences, words of sentences that are too long, and parts of words that are."""
    for sentence in _SENTENCE_END.split(paragraph):
        if len(sentence) <= most_chars:
            yield from [sentence] if sentence else []
            continue
        for word in sentence.split():
            yield from (word[start : start + most_chars] for start in range(0, len(word), most_chars))
