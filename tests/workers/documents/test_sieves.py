"""Facts and pairs are kept or left out for the reason that is given."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.documents.facts import Fact, FactSieve
from workers.documents.pairs import PAIRS_PER_FACT, Pair, PairSieve, PairsOfFact, split_pairs
from workers.documents.passages import Passage
from workers.documents.rejects import Reason
from workers.documents.wording import mentions, numbers

PASSAGE = Passage(
    document="towers.md",
    number=1,
    heading="Towers",
    text="The Aro Tower in Riga, drawn by Ana Berg, was built in 1,889 days and is 300-odd metres, i.e. "
    "312.5 m, high.",
)
FACT = Fact(fact_id="f", text="The Aro Tower is 312.5 m high.", passage=PASSAGE)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("  ", Reason.EMPTY),
        ("?!", Reason.EMPTY),
        ("word " * 61, Reason.LONG),
        ("According to this passage the tower is high.", Reason.OF_THE_PASSAGE),
        ("The Aro Tower was built in 1889 days.", None),
        ("The Aro Tower is 313 m high.", Reason.UNGROUNDED),
        ("Ana Berg drew the Aro Tower.", None),
    ],
)
def test_fact_is_kept_or_left_out_for_its_reason(text: str, reason: Reason | None) -> None:
    sifted = FactSieve().sift(text, PASSAGE)
    assert sifted == reason if reason else isinstance(sifted, Fact)


@pytest.mark.parametrize(
    ("first", "second", "is_duplicate"),
    [
        ("Ana Berg drew the Aro Tower.", "Ana Berg drew the Aro Tower", True),
        ("Ana Berg drew the Aro Tower.", "The Aro Tower was drew by Ana Berg.", True),
        ("Ana Berg drew the high Aro Tower of Riga.", "Eva Berg drew the high Aro Tower of Riga.", False),
        ("The high Aro Tower in Riga is 300 metres.", "The high Aro Tower in Riga is 312.5 metres.", False),
        ("Ana Berg drew the Aro Tower.", "Ana Berg painted the inside of the Aro Tower.", False),
    ],
)
def test_fact_said_before_is_a_duplicate_unless_a_name_or_number_differs(
    first: str, second: str, is_duplicate: bool
) -> None:
    sieve = FactSieve()
    assert isinstance(sieve.sift(first, PASSAGE), Fact)
    assert (sieve.sift(second, PASSAGE) is Reason.DUPLICATE) == is_duplicate


def test_facts_have_ids_of_their_sentences() -> None:
    one, same, other = (
        FactSieve().sift(text, PASSAGE)
        for text in ("Ana  drew it in Riga.", "Ana drew it in\nRiga.", "Berg drew it in Riga.")
    )
    assert isinstance(one, Fact)
    assert isinstance(same, Fact)
    assert isinstance(other, Fact)
    assert one == same
    assert one.fact_id != other.fact_id


@pytest.mark.parametrize(
    ("question", "answer", "reason"),
    [
        ("How high is the Aro Tower?", "312.5 m", None),
        ("How high is the Aro Tower?", "312.5 M.", None),
        ("", "312.5 m", Reason.EMPTY),
        ("How high is it?", "—", Reason.EMPTY),
        ("How high is the tower of the passage?", "word " * 61, Reason.LONG),
        ("How high is the tower in the text?", "312.5 m", Reason.OF_THE_PASSAGE),
        ("Is the Aro Tower 312.5 m high?", "312.5 m", Reason.GIVEN_AWAY),
        ("Is the Aro Tower high?", "Yes", Reason.UNGROUNDED),
        ("How high is the Aro Tower?", "12.5 m", Reason.UNGROUNDED),
        ("How high is the Aro Tower?", "about as high as a hill of 312.5 m would be", None),
        ("How high is the Aro Tower?", "as high as a hill that is 400 m high", Reason.UNGROUNDED),
    ],
)
def test_pair_is_kept_or_left_out_for_its_reason(question: str, answer: str, reason: Reason | None) -> None:
    assert PairSieve().sift(Pair(question=question, answer=answer), FACT)[1] == reason


def test_question_is_asked_once_in_the_whole_task() -> None:
    sieve = PairSieve()
    other = Fact(fact_id="g", text="Ana Berg drew the Aro Tower in Riga.", passage=PASSAGE)
    assert sieve.sift(Pair(question="What about the Aro Tower?", answer="312.5 m"), FACT)[1] is None
    for fact, answer in ((FACT, "312.5"), (other, "Ana Berg")):
        given_pair = Pair(question="what about  the ARO tower", answer=answer)
        assert sieve.sift(given_pair, fact)[1] is Reason.DUPLICATE


def test_question_that_was_left_out_can_be_asked_with_a_better_answer() -> None:
    sieve = PairSieve()
    assert sieve.sift(Pair(question="How high is the Aro Tower?", answer="9 m"), FACT)[1] is Reason.UNGROUNDED
    assert sieve.sift(Pair(question="How high is the Aro Tower?", answer="312.5 m"), FACT)[1] is None


def test_numbers_as_answers_are_taken_for_text() -> None:
    assert Pair.model_validate({"question": "How many?", "answer": 12}).answer == "12"


@given(st.permutations(range(PAIRS_PER_FACT)))
def test_split_is_ten_one_one_of_all_pairs_whatever_their_order(order: list[int]) -> None:
    kept = [Pair(question=f"Question {n}?", answer=str(n)) for n in order]
    train, validation, test = split_pairs(PairsOfFact(FACT, kept=kept))
    assert len(train) == 10
    assert {e.question for e in [*train, validation, test]} == {pair.question for pair in kept}
    assert {e.fact for e in [*train, validation, test]} == {"f"}
    same = split_pairs(PairsOfFact(FACT, kept=sorted(kept, key=lambda pair: pair.question)))
    assert same == (train, validation, test)


@pytest.mark.parametrize(
    ("text", "part", "is_there"),
    [
        ("The Aro Tower, in Riga.", "aro tower", True),
        ("A party of art", "art", True),
        ("A party", "art", False),
        ("in 1889.", "188", False),
        ("a 300-metre tower", "300", True),
        ("公司于2020年成立于北京。", "2020年", True),
        ("公司于2020年成立于北京。", "北京", True),
        ("公司于2020年成立于北京。", "202", False),
        ("Straße", "STRASSE", True),
        ("anything", "", False),
        ("anything", "...", False),
    ],
)
def test_part_is_mentioned_as_whole_words_and_anywhere_in_scripts_without_spaces(
    text: str, part: str, is_there: bool
) -> None:
    assert mentions(text, part) == is_there


@given(st.text(max_size=30), st.text(max_size=10))
def test_text_mentions_each_of_its_words_put_between_others(text: str, part: str) -> None:
    assert not mentions("", part)
    if any(char.isalnum() for char in part):
        assert mentions(f"{text} | {part} | {text}", part)


def test_numbers_are_compared_without_commas() -> None:
    assert numbers("1,889 days, 312.5 m, in 1999.") == {"1889", "312.5", "1999"}
