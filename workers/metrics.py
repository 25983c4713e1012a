"""Scores of a generated answer against the gold answer, both in [0, 1], to be maximised.

Source: the evaluation script of SQuAD 2.0 (Rajpurkar et al., arXiv 1806.03822). One deviation, because there
it would make silence right: see ``exact_match``.
"""

import re
import string
from collections import Counter

_ARTICLES = re.compile(r"\b(a|an|the)\b")
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


def _tokens(text: str, gold: str) -> list[str]:
    """Split a text into the tokens by which it is compared with this gold answer."""
    return normalise_answer(text).split() if normalise_answer(gold) else text.lower().split()
