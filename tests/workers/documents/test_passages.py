"""Passages are the whole text, none too long, cut where the text pauses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.documents.passages import split_passages
from workers.documents.reading import Document

blocks = st.one_of(
    st.text(st.sampled_from("ab .!\n#。é"), max_size=80),
    st.sampled_from(
        ["# One", "## Two", "### Three ###", "A sentence. And another one!", "word " * 60, "x" * 300]
    ),
)


def texts(text: str, most_chars: int) -> list[str]:
    return [p.text for p in split_passages(Document("d.md", text), most_chars=most_chars)]


@given(st.lists(blocks, max_size=12).map("\n\n".join), st.integers(20, 200))
def test_passages_hold_all_of_the_text_in_order_and_none_is_too_long(text: str, most_chars: int) -> None:
    passages = split_passages(Document("d.md", text), most_chars=most_chars)
    assert "".join("".join(p.text.split()) for p in passages) == "".join(text.split())
    assert all(0 < len(p.text) <= most_chars for p in passages)
    assert [p.number for p in passages] == list(range(1, len(passages) + 1))


def test_paragraphs_stay_whole_where_they_fit() -> None:
    text = "First paragraph here.\n\nSecond one.\n\nThird paragraph, too."
    assert texts(text, 40) == ["First paragraph here.\n\nSecond one.", "Third paragraph, too."]


def test_long_paragraph_is_cut_at_sentences_then_between_words() -> None:
    assert texts("One two. Three four. Five six seven eight nine.", 20) == [
        "One two. Three four.",
        "Five six seven eight",
        "nine.",
    ]


def test_heading_stands_before_its_text_and_begins_a_passage_when_the_one_before_is_half_full() -> None:
    text = "# A\nText of A, rather long as it is.\n## B\n\nText of B."
    assert texts(text, 60) == ["# A\n\nText of A, rather long as it is.", "## B\n\nText of B."]
    assert texts(text, 200) == ["# A\n\nText of A, rather long as it is.\n\n## B\n\nText of B."]


def test_passage_knows_the_heading_it_stands_under() -> None:
    text = "Before.\n\n# A\n\n" + "First of A. " * 5 + "\n\n" + "Second of A. " * 5
    passages = split_passages(Document("d.md", text), most_chars=70)
    assert [(p.heading, p.title) for p in passages] == [
        (None, "d.md"),
        ("A", "d.md, under 'A'"),
        ("A", "d.md, under 'A'"),
    ]


@pytest.mark.parametrize("text", ["", " \n\n \n"])
def test_text_without_words_has_no_passages(text: str) -> None:
    assert texts(text, 100) == []
