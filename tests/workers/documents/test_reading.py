"""Documents are read whole, in a known order, and what can't be read is named."""

import random
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from orchestrator.contracts import InputError
from tests.support.pdf import pdf
from workers.documents.reading import read_document, read_folder


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_folder_is_read_in_the_order_of_names_without_hidden_and_other_files(tmp_path: Path) -> None:
    write(tmp_path / "b.MD", "# B")
    write(tmp_path / "a" / "z.txt", "Z")
    write(tmp_path / "c.pdf", pdf("Third"))
    write(tmp_path / "data.csv", "1,2")
    write(tmp_path / ".git" / "notes.txt", "hidden")
    write(tmp_path / ".hidden.txt", "hidden")
    shelf = read_folder(tmp_path)
    assert [(d.name, d.text) for d in shelf.documents] == [
        ("a/z.txt", "Z"),
        ("b.MD", "# B"),
        ("c.pdf", "Third"),
    ]
    assert (shelf.ignored, shelf.unread) == (1, ())


def test_document_that_can_not_be_read_is_named_with_the_reason_and_others_are_read(tmp_path: Path) -> None:
    write(tmp_path / "good.txt", "Good.")
    write(tmp_path / "latin.txt", "Gr\xfc\xdfe".encode("latin-1"))
    write(tmp_path / "blank.md", " \n\x0c\n")
    write(tmp_path / "broken.pdf", b"%PDF-1.4 and nothing")
    write(tmp_path / "scan.pdf", pdf(""))
    shelf = read_folder(tmp_path)
    assert [d.name for d in shelf.documents] == ["good.txt"]
    reasons = dict(shelf.unread)
    assert reasons["latin.txt"] == "not UTF-8 text (byte 0xfc at 3)"
    assert "no text in it" in reasons["blank.md"]
    assert "not a PDF that can be read" in reasons["broken.pdf"]
    assert "recognise the characters" in reasons["scan.pdf"]


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({}, "holds no document; give a folder with text, Markdown or PDF"),
        ({"a.docx": "x"}, "holds no document"),
        ({"a.txt": ""}, r"a\.txt can't be read: no text in it"),
    ],
)
def test_folder_without_a_readable_document_is_refused(
    tmp_path: Path, files: dict[str, str], problem: str
) -> None:
    for name, content in files.items():
        write(tmp_path / name, content)
    with pytest.raises(InputError, match=problem):
        read_folder(tmp_path)


def test_missing_folder_and_file_in_its_place_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere", write(tmp_path / "a.txt", "A")):
        with pytest.raises(InputError, match="no folder of documents at"):
            read_folder(path)


def test_line_ends_of_all_systems_are_one_and_what_is_no_text_is_dropped(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "\ufeffone\r\ntwo\rthr\x00ee\u00ad\n")
    assert read_document(path) == "one\ntwo\nthree\n"


def test_pdf_is_one_paragraph_with_words_put_together_again(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pdf", pdf("The tower is high and won-\nderful. It stands", "on page two."))
    assert read_document(path) == "The tower is high and wonderful. It stands on page two."


def test_pdf_without_pypdf_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.pdf", pdf("One"))
    monkeypatch.setitem(sys.modules, "pypdf", None)
    with pytest.raises(InputError, match=r"a\.pdf is a PDF, .*: pip install pypdf"):
        read_document(path)


def test_damaged_pdf_is_unreadable_and_never_a_crash(tmp_path: Path) -> None:
    whole = pdf("The tower is high.", "It stands.")
    dice = random.Random(0)
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(dice.randint(1, 12)):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        path = write(tmp_path / "a.pdf", bytes(damaged[: dice.randint(1, len(damaged))]))
        with suppress(ValueError):  # anything else fails the test
            assert read_document(path).strip()
