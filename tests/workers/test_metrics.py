"""The scores are SQuAD's and ROUGE's, but for gold answers that the normaliser empties."""

import re
import string
import subprocess
import sys

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from workers.metrics import exact_match, normalise_answer, rouge_l, token_f1

answers = st.one_of(
    st.text(max_size=40),
    st.lists(
        st.sampled_from(["the", "A", "an", "blue", "Blue!", "tower", "7", "7.5", "—", "ß", ","]), max_size=8
    ).map(" ".join),
)


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        ("The Eiffel Tower", "eiffel tower"),
        ("  an   apple\n a\tday ", "apple day"),
        ("U.S.A.", "usa"),
        ("th.e cat", "cat"),
        ("theatre, another, Ana", "theatre another ana"),
        ("1,234.5%", "12345"),
        ("a_b", "ab"),
        ("l'été — “quoted”", "lété — “quoted”"),
        ("STRASSE Straße", "strasse straße"),
        ("the", ""),
        ("...", ""),
        ("", ""),
    ],
)
def test_normaliser_gives_the_golden_text(text: str, normalised: str) -> None:
    assert normalise_answer(text) == normalised


@pytest.mark.parametrize(
    ("prediction", "gold", "match", "f1"),
    [
        ("the baker", "a Baker.", 1, 1),
        ("baker", "smith", 0, 0),
        ("", "smith", 0, 0),
        ("the", "smith", 0, 0),
        ("red and blue", "blue and red", 0, 1),
        ("in the year 1871", "1871", 0, 1 / 2),
        ("red red blue", "red blue blue", 0, 2 / 3),
        ("one two three", "two three four five", 0, 4 / 7),
        ("Let x be 4.\n#### 4", "4", 0, 1 / 3),
    ],
)
def test_scores_of_golden_pairs(prediction: str, gold: str, match: float, f1: float) -> None:
    assert exact_match(prediction, gold) == match
    assert token_f1(prediction, gold) == pytest.approx(f1, abs=1e-12)


@pytest.mark.parametrize("gold", ["A", "a", "The", "+", "..."])
def test_gold_answer_that_normalises_to_nothing_is_met_by_itself_and_not_by_silence(gold: str) -> None:
    assert (
        exact_match(gold, gold) == exact_match(f" {gold.upper()} ", gold) == token_f1(gold.lower(), gold) == 1
    )
    for other in ("", "an", "B", "!"):
        assert exact_match(other, gold) == token_f1(other, gold) == 0


def squad_oracle(prediction: str, gold: str) -> tuple[bool, float]:
    """SQuAD's two scores, from the definitions: characters one by one, precision and recall apart."""

    def tokens(text: str) -> list[str]:
        kept = "".join(c for c in text.lower() if c not in string.punctuation)
        return [t for t in re.split(r"\s+", re.sub(r"\b(?:an?|the)\b", " ", kept)) if t]

    left, right = tokens(prediction), tokens(gold)
    rest, same = list(right), 0
    for token in left:
        if token in rest:
            rest.remove(token)
            same += 1
    if same == 0:
        return left == right, 0.0
    precision, recall = same / len(left), same / len(right)
    return left == right, 2 * precision * recall / (precision + recall)


@given(answers, answers)
@example("Ana", "ana an")
def test_scores_agree_with_squad_where_gold_has_tokens(prediction: str, gold: str) -> None:
    assume(normalise_answer(gold))
    match, f1 = squad_oracle(prediction, gold)
    assert exact_match(prediction, gold) == match
    assert token_f1(prediction, gold) == pytest.approx(f1, abs=1e-12)


@given(answers)
def test_normalising_twice_is_normalising_once(text: str) -> None:
    assert normalise_answer(normalise_answer(text)) == normalise_answer(text)


@given(answers)
def test_every_answer_meets_itself_in_any_case_of_its_articles(text: str) -> None:
    assert exact_match(text, text) == token_f1(text, text) == 1
    if normalise_answer(text):
        assert exact_match(f"The {text}!", text) == 1


@given(answers, answers)
def test_scores_lie_in_range_and_an_exact_match_has_full_f1(prediction: str, gold: str) -> None:
    assert exact_match(prediction, gold) in (0, 1)
    assert 0 <= token_f1(prediction, gold) <= 1
    assert token_f1(prediction, gold) >= exact_match(prediction, gold)


@given(answers, answers)
def test_f1_is_symmetric_where_both_have_tokens(one: str, other: str) -> None:
    assume(normalise_answer(one) and normalise_answer(other))
    assert token_f1(one, other) == token_f1(other, one)


@pytest.mark.parametrize(
    ("prediction", "gold", "f_measure"),
    [
        ("police kill the gunman", "police killed the gunman", 3 / 4),  # Lin 2004, section 3.1
        ("the gunman kill police", "police killed the gunman", 1 / 2),
        ("The blue TOWER!", "the blue tower", 1),
        ("a-b_c", "A B C", 1),
        ("red and blue", "blue and red", 1 / 3),
        ("in the year\n1871", "1871", 2 / 5),
        ("one two two", "two two one two", 4 / 7),
        ("Straße Zürich 北京", "STRASSE zürich 北京", 2 / 3),
        ("", "smith", 0),
        ("...", "smith", 0),
        ("+", "+", 1),
        ("plus", "+", 0),
        ("", "+", 0),
    ],
)
def test_rouge_l_of_golden_pairs(prediction: str, gold: str, f_measure: float) -> None:
    assert rouge_l(prediction, gold) == pytest.approx(f_measure, abs=1e-12)


ascii_text = st.one_of(
    st.text(st.characters(max_codepoint=127), max_size=60),
    st.lists(st.sampled_from(["a", "b", "The", "the", "7.5", "x_y", "--"]), max_size=90).map(" ".join),
)


@given(ascii_text, ascii_text)
def test_rouge_l_is_that_of_the_package_rouge_score_on_ascii_text(prediction: str, gold: str) -> None:
    assume(re.search("[A-Za-z0-9]", gold))
    theirs = RougeScorer(["rougeL"]).score(gold, prediction)["rougeL"].fmeasure
    assert rouge_l(prediction, gold) == pytest.approx(theirs, abs=1e-12)


@given(answers, answers)
def test_rouge_l_lies_in_range_and_is_full_for_itself(prediction: str, gold: str) -> None:
    assert 0 <= rouge_l(prediction, gold) <= 1
    assert rouge_l(gold, gold) == 1


def test_import_leaves_torch_alone() -> None:
    code = "import sys, workers.metrics; print(sorted({'torch', 'transformers', 'ray'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
