"""What kind of answers a task has: how varied, and of which form. Forms are told by marks, not understood."""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence

_CODE = re.compile(
    r"```"  # a fenced block
    r"|</\w+>"  # the end of an element
    r"|==|!=|=>|&&|\|\||\+="  # operators that prose and arithmetic do without
    r"|[{}][ \t]*$|\)[ \t]*;[ \t]*$|\w[ \t]*=[^=\n]+;[ \t]*$"  # how a line of C, Java or JavaScript ends
    r"|\w\.\w+\([^()\n]*\)"  # a method's call
    r"|^[ \t]*(?:def|class)[ \t]+\w+[ \t]*[(:{]|^[ \t]*(?:from[ \t]+\S+[ \t]+)?import[ \t]+[\w.]+;?[ \t]*$"
    r"|^[ \t]*#include\b|\bSELECT\b[^;]+\bFROM\b",
    re.MULTILINE,
)
_ITEM = re.compile(r"^[ \t]*(?:[-*•–‣]|\(?(?:\d{1,3}|[a-z])[.)])[ \t]+\S", re.MULTILINE)
"""A line that begins with a bullet, a number or a letter."""
_BETWEEN_ITEMS = re.compile(r"[,;]\s+|\n+|、")
_FEWEST_LINES, _FEWEST_PARTS, _MOST_WORDS = 2, 3, 4


def answer_features(answers: Sequence[str]) -> dict[str, float]:
    """Measure a split's answers.

    Args:
        answers: At least one.

    Returns:
        Names of ``FEATURES`` to numbers.
    """
    count = len(answers)
    bits = entropy_bits(answers)
    return {
        "distinct_answers_share": len(set(answers)) / count,
        "answer_entropy_bits": bits,
        "answer_entropy": min(1.0, bits / math.log2(count)) if count > 1 else 0.0,
        "digit_answers_share": _share(answers, _has_digit),
        "code_answers_share": _share(answers, looks_like_code),
        "list_answers_share": _share(answers, looks_like_list),
    }


def entropy_bits(values: Sequence[str]) -> float:
    """Return the entropy of the values' own distribution.

    Args:
        values: At least one; equal ones are one outcome.

    Returns:
        Bits, from 0 (all equal) to log2 of how many there are (all different).
    """
    count = len(values)
    sizes = Counter(values).values()
    return max(0.0, math.log2(count) - math.fsum(size * math.log2(size) for size in sizes) / count)


def looks_like_code(text: str) -> bool:
    """Whether a text holds a mark that program code or markup has and prose hardly ever."""
    return _CODE.search(text) is not None


def looks_like_list(text: str) -> bool:
    """Whether a text is two or more lines with bullets or numbers, or three or more brief items in a row."""
    if len(_ITEM.findall(text)) >= _FEWEST_LINES:
        return True
    parts = [part for part in _BETWEEN_ITEMS.split(text) if part.strip()]
    return len(parts) >= _FEWEST_PARTS and all(len(part.split()) <= _MOST_WORDS for part in parts)


def _has_digit(text: str) -> bool:
    return any(character.isdecimal() for character in text)


def _share(values: Sequence[str], holds: Callable[[str], bool]) -> float:
    return sum(map(holds, values)) / len(values)
