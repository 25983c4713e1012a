"""Documents out of files: plain text, Markdown, PDF."""

import importlib.util
import logging
import re
from dataclasses import dataclass
from pathlib import Path

from orchestrator.contracts import InputError

_TEXT_ENDINGS = (".txt", ".text", ".md", ".markdown", ".rst")
_PDF_ENDING = ".pdf"
ENDINGS = (*_TEXT_ENDINGS, _PDF_ENDING)
"""Names of files that are read end so, in any case."""
_LIGATURES = {
    0xFB00: "ff",
    0xFB01: "fi",
    0xFB02: "fl",
    0xFB03: "ffi",
    0xFB04: "ffl",
    0xFB05: "st",
    0xFB06: "st",
}
"""What typesetting makes of letters, and PDF keeps."""
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff\u00ad]")
_HYPHENATED = re.compile(r"(?<=[^\W\d_])-\n(?=[^\W\d_])")


@dataclass(frozen=True, slots=True)
class Document:
    """One file's text."""

    name: str
    """Path within the folder, with slashes."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """What a folder holds."""

    documents: tuple[Document, ...]
    unread: tuple[tuple[str, str], ...]
    """Names of documents that could not be read or hold no text, and why."""
    ignored: int
    """Files of other kinds."""


def read_folder(folder: Path) -> Shelf:
    """Read all documents of a folder and the folders in it, but for hidden ones.

    Args:
        folder: Where they are.

    Returns:
        The documents, in the order of their names.

    Raises:
        InputError: There is no such folder, it holds no document that can be read, or it holds a PDF and
            pypdf is not installed.
    """
    if not folder.is_dir():
        raise InputError(f"no folder of documents at {folder}; give one that holds {_kinds()}")
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not _is_hidden(path, folder)]
    known = [path for path in files if path.suffix.lower() in ENDINGS]
    if not known:
        raise InputError(f"{folder} holds no document; give a folder with {_kinds()}")
    documents, unread = [], []
    for path in known:
        name = path.relative_to(folder).as_posix()
        try:
            documents.append(Document(name, read_document(path)))
        except ValueError as error:
            unread.append((name, str(error)))
    if not documents:
        raise InputError(*(f"{name} can't be read: {reason}" for name, reason in unread))
    return Shelf(documents=tuple(documents), unread=tuple(unread), ignored=len(files) - len(known))


def read_document(path: Path) -> str:
    """Read one document.

    Args:
        path: A file named as ``ENDINGS`` say.

    Returns:
        Its text, with line feeds at the ends of lines, and nothing that is no text.

    Raises:
        ValueError: It can't be read or holds no text; the message says why.
        InputError: It is a PDF, and pypdf is not installed.
    """
    try:
        text = (
            _read_pdf(path) if path.suffix.lower() == _PDF_ENDING else path.read_bytes().decode("utf-8-sig")
        )
    except UnicodeDecodeError as error:
        raise ValueError(
            f"not UTF-8 text (byte 0x{error.object[error.start]:02x} at {error.start + 1})"
        ) from error
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error
    text = _CONTROLS.sub("", text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n\n"))
    if not text.strip():
        raise ValueError("no text in it; recognise the characters of scanned pages first")
    return text


def _read_pdf(path: Path) -> str:
    """Return a PDF's text: lines put together to one paragraph, since PDF does not tell where one ends."""
    if importlib.util.find_spec("pypdf") is None:
        raise InputError(f"{path.name} is a PDF, and pypdf, which reads those, is missing: pip install pypdf")
    import pypdf
    from pypdf.errors import PyPdfError

    logging.getLogger("pypdf").setLevel(logging.ERROR)
    try:
        pages = [page.extract_text() for page in pypdf.PdfReader(path).pages]
    except (PyPdfError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a PDF that can be read: {' '.join(str(error).split())}") from error
    text = "\n".join(pages).translate(_LIGATURES)
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return " ".join(_HYPHENATED.sub("", text).split())


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _kinds() -> str:
    return f"text, Markdown or PDF ({', '.join(ENDINGS)})"
