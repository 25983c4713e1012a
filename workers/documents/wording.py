"""Comparing texts by their words: in any case, without punctuation."""

import re

_WORD = re.compile(r"[^\W_]+")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_OF_THE_PASSAGE = re.compile(
    r"\b(?:the|this|that|above|given|provided) (?:passage|excerpt|text|document|paragraph|statement|fact)\b",
    re.IGNORECASE,
)
_FUNCTION_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a an the of in on at to for from by with as and or is are was were be been has have had it its that",
    )
)


def words(text: str) -> list[str]:
    """Return the runs of letters and digits of a text, case-folded."""
    return _WORD.findall(text.casefold())


def normalised(text: str) -> str:
    """Return a text's words with single spaces between: equal for texts that differ in nothing else."""
    return " ".join(words(text))


def mentions(text: str, part: str) -> bool:
    """Tell whether the words of a part stand one after another in a text.

    Scripts without upper and lower case, such as Chinese, often write no spaces; there a part may begin and
    end in the middle of a run.

    Args:
        text: Where to look.
        part: What for.

    Returns:
        Whether it is there; a part without words is nowhere.
    """
    within, sought = f" {normalised(text)} ", normalised(part)
    place = within.find(sought) if sought else -1
    while place >= 0:
        before, after = within[place - 1], within[place + len(sought)]
        if not _are_one_word(before, sought[0]) and not _are_one_word(sought[-1], after):
            return True
        place = within.find(sought, place + 1)
    return False


def _are_one_word(left: str, right: str) -> bool:
    """Whether two neighbours are of scripts that part words by spaces."""
    return all(char.isdigit() or char.upper() != char.lower() for char in (left, right))


def numbers(text: str) -> frozenset[str]:
    """Return the numbers written in digits, without commas."""
    return frozenset(number.replace(",", "") for number in _NUMBER.findall(text))


def refers_to_passage(text: str) -> bool:
    """Whether an English text speaks of the passage that it was taken from."""
    return _OF_THE_PASSAGE.search(text) is not None


def content_words(text: str) -> frozenset[str]:
    """Return the words of a text that are no English function words."""
    return frozenset(words(text)) - _FUNCTION_WORDS


def marks(text: str) -> frozenset[str]:
    """Return the words that tell apart what is otherwise said alike: names and numbers."""
    return frozenset(
        word.casefold()
        for word in _WORD.findall(text)
        if (word != word.lower() or any(char.isdigit() for char in word))
        and word.casefold() not in _FUNCTION_WORDS
    )
