"""Near-duplicates are found by how much text they share, in any order and any script."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.metafeatures.duplicates import near_duplicates_share

_DICE = random.Random(0)
_WORDS = ["".join(_DICE.choices("abcdefghijklmnop", k=6)) for _ in range(2000)]


def sentence(words: int = 30) -> str:
    return " ".join(_DICE.choices(_WORDS, k=words))


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), min_size=1, max_size=20))
def test_equal_texts_are_always_found_and_order_is_no_matter(texts: list[str]) -> None:
    plain = [" ".join(text.casefold().split()) for text in texts]
    equal = sum(plain.count(text) > 1 for text in plain) / len(texts)
    assert equal <= near_duplicates_share(texts) <= 1
    assert near_duplicates_share(texts[::-1]) == near_duplicates_share(texts)


def test_texts_with_nothing_in_common_have_none() -> None:
    assert near_duplicates_share([sentence() for _ in range(500)]) == 0


def test_texts_that_differ_in_a_word_are_near_duplicates_and_those_that_share_half_are_not() -> None:
    changed, halves = [], []
    for _ in range(200):
        text = sentence()
        changed += [text, text.rpartition(" ")[0] + " " + sentence(1)]
        halves += [text, " ".join(text.split()[:15]) + " " + sentence(15)]
    assert near_duplicates_share(changed) > 0.95
    assert near_duplicates_share(halves) < 0.05


@pytest.mark.parametrize(
    "text", ["奥尔斯克是一座位于河边的古老城市，长老是面包师", "Η παλιά πόλη της Ορσκ δίπλα στο ποτάμι"]
)
def test_scripts_without_latin_letters_or_spaces_are_compared_as_any(text: str) -> None:
    other = "一个完全不同的关于海洋和山的故事，没有人知道它的结局"
    assert near_duplicates_share([text, text + "。", other]) == 2 / 3


def test_short_and_empty_texts_are_compared_whole() -> None:
    assert near_duplicates_share(["", "", "a", "b"]) == 1 / 2
