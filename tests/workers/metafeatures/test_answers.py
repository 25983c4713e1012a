"""Answers are told apart by how they vary and by the marks of their form."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.metafeatures.answers import answer_features, entropy_bits, looks_like_code, looks_like_list

CODE = {
    "python": "def area(r):\n    return 3.14 * r ** 2",
    "class": "class Town(Place):\n    pass",
    "import": "import os.path",
    "call": "frame.groupby(key)",
    "javascript": "const add = (a, b) => a + b;",
    "c": 'int main(void) {\n  printf("hi");\n}',
    "include": "#include <stdio.h>",
    "sql": "SELECT name FROM towns WHERE size > 3",
    "html": "<b>bold</b>",
    "fenced": "Use this:\n```\nls\n```",
    "comparison": "if a == b then stop",
}
PROSE = {
    "sentence": "The class of compounds returns to its import price, e.g. (in 1990) for 3.5 days.",
    "arithmetic": "He has 5*3=15 apples; 15-2 = 13.\n#### 13",
    "address": "Send it to Orsk (Velm), 12 High Street; see foretune.example.",
    "clause": "(i) the lessee; and\n(ii) the lessor;",
    "select": "Select one from the list, and def. not two.",
    "greek": "Η πόλη της Ορσκ ιδρύθηκε το 1820.",
    "chinese": "奥尔斯克是一座城市，成立于1820年。",
}
LISTS = {
    "bullets": "You need:\n- flour\n- two eggs and a little milk",
    "numbers": "1. Open the lid.\n2. Close the lid again when all the water has gone.",
    "letters": "a) red\nb) blue",
    "commas": "flour, two eggs, milk",
    "semicolons": "Governing Law; Audit Rights; Anti-Assignment",
    "lines": "red\ngreen\nblue",
    "json": "[1, 2, 3]",
    "japanese": "赤、青、緑",
}
NO_LISTS = {
    "word": "tutor",
    "two": "Paris, France",
    "thousands": "14,000,000",
    "sentence": "It began in 1820, when the river, then much wider than it is today, froze over for a month.",
    "one bullet": "- only this",
    "range": "1990-1995",
}


@pytest.mark.parametrize("text", CODE.values(), ids=CODE)
def test_code_looks_like_code(text: str) -> None:
    assert looks_like_code(text)


@pytest.mark.parametrize("text", PROSE.values(), ids=PROSE)
def test_prose_does_not_look_like_code(text: str) -> None:
    assert not looks_like_code(text)


@pytest.mark.parametrize("text", LISTS.values(), ids=LISTS)
def test_a_list_looks_like_a_list(text: str) -> None:
    assert looks_like_list(text)


@pytest.mark.parametrize("text", NO_LISTS.values(), ids=NO_LISTS)
def test_what_is_no_list_does_not_look_like_one(text: str) -> None:
    assert not looks_like_list(text)


@given(st.lists(st.text(max_size=2), min_size=1, max_size=40))
def test_entropy_lies_between_all_equal_and_all_different(values: list[str]) -> None:
    bits = entropy_bits(values)
    assert 0 <= bits <= math.log2(len(set(values))) + 1e-9
    counts = [values.count(value) / len(values) for value in set(values)]
    assert bits == pytest.approx(-sum(share * math.log2(share) for share in counts), abs=1e-9)
    assert 0 <= answer_features(values)["answer_entropy"] <= 1


def test_entropy_of_equal_answers_is_none_and_of_different_ones_all_there_is() -> None:
    assert entropy_bits(["yes"] * 7) == 0
    assert entropy_bits([str(number) for number in range(32)]) == 5
    assert answer_features(["yes", "no"])["answer_entropy"] == 1
    assert answer_features(["yes"])["answer_entropy"] == 0


def test_digits_count_in_any_script() -> None:
    assert answer_features(["7", "٧ apples", "seven", "VII"])["digit_answers_share"] == 1 / 2
