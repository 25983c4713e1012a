"""Scores of a generated answer against the gold answer, all in [0, 1], to be maximised.

Sources: exact match and token F1 are those of SQuAD 2.0's evaluation script (Rajpurkar et al., arXiv
1806.03822); ROUGE-L is Lin's ("ROUGE: A Package for Automatic Evaluation of Summaries", 2004, section 3.1),
with precision and recall weighing the same. One deviation, because there it would make silence right: see
``exact_match``.
"""

import re
import string
from collections import Counter

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_WORD = re.compile(r"[^\W_]+")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise_answer(text: str) -> str:
    """Return a text in lower case, without ASCII punctuation, English articles and surplus white space."""
    without_articles = _ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION))
    return " ".join(without_articles.split())


def exact_match(prediction: str, gold: str) -> float:
    """Return 1 where both texts are equal once normalised, else 0.

    A gold answer of which the normaliser leaves nothing ("A" of a multiple choice, "+") is compared as it
    stands, but for case and white space.

    Args:
        prediction: The generated answer.
        gold: The right answer.

    Returns:
        0.0 or 1.0.
    """
    return float(_tokens(prediction, gold) == _tokens(gold, gold))


def token_f1(prediction: str, gold: str) -> float:
    """Return the harmonic mean of precision and recall over normalised tokens, counted with repetition.

    Args:
        prediction: The generated answer.
        gold: The right answer; what ``exact_match`` says of one that normalises to nothing holds here too.

    Returns:
        In [0, 1]; 1 where the same tokens stand in both, in whatever order, and 0 where none is common.
    """
    predicted, wanted = _tokens(prediction, gold), _tokens(gold, gold)
    if not predicted or not wanted:
        return float(predicted == wanted)
    common = (Counter(predicted) & Counter(wanted)).total()
    return 2 * common / (len(predicted) + len(wanted))


def rouge_l(prediction: str, gold: str) -> float:
    """Return ROUGE-L's F-measure: how much of both texts is one common subsequence of words.

    Words are runs of letters and digits, in lower case and unstemmed: on ASCII text those of the package
    ``rouge-score``, which takes any other letter for a space. Each text is one sequence, whatever its lines.

    Args:
        prediction: The generated answer.
        gold: The right answer; one without a word ("+") is compared as it stands, but for case and white
            space.

    Returns:
        In [0, 1]: twice the longest common subsequence over the words of both; 1 where they say the same
        words in the same order, and 0 where none is common.
    """
    is_worded = _WORD.search(gold) is not None
    predicted, wanted = (
        _WORD.findall(text.lower()) if is_worded else text.lower().split() for text in (prediction, gold)
    )
    if not predicted or not wanted:
        return float(predicted == wanted)
    return 2 * _longest_common_subsequence(predicted, wanted) / (len(predicted) + len(wanted))


def _longest_common_subsequence(one: list[str], other: list[str]) -> int:
    """Return its length, a whole row of the usual table at a time.

    Bit ``i`` of ``row`` is 0 where the table grows between ``one[:i]`` and ``one[:i + 1]``; one addition
    carries all changes of a row (Hyyrö, "Bit-parallel LCS-length computation revisited", 2004).
    """
    places: dict[str, int] = {}
    for index, token in enumerate(one):
        places[token] = places.get(token, 0) | 1 << index
    full = (1 << len(one)) - 1
    row = full
    for token in other:
        same = row & places.get(token, 0)
        row = (row + same | row - same) & full
    return len(one) - row.bit_count()


def _tokens(text: str, gold: str) -> list[str]:
    """Split a text into the tokens by which it is compared with this gold answer."""
    return normalise_answer(text).split() if normalise_answer(gold) else text.lower().split()
