"""Tasks made unlike themselves, to see whether the strangeness score notices."""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from workers.tasks.records import Example, Task

_LATIN = "abcdefghijklmnopqrstuvwxyz"
_GREEK = str.maketrans(_LATIN, "αβχδεφγηιξκλμνοπθρστυϖωςψζ")
_CYRILLIC = str.maketrans(_LATIN, "абцдефгхийклмнопярстувщжыз")
_ANSWERS_JOINED = 9
_QUESTIONS_JOINED = 6
_STRIDE = 7
"""Examples joined are so many rows apart, so that they word different facts as well as the same."""

Rows = Sequence[Example]


def shuffled_answers(rows: Rows, other: Rows) -> Iterable[Example]:
    """Give every question another one's answer, wordings of one fact different ones."""
    answers = [row.answer for row in rows]
    random.Random(0).shuffle(answers)
    return _answered(rows, answers)


def foreign_answers(rows: Rows, other: Rows) -> Iterable[Example]:
    """Give every question an answer drawn from another task's."""
    return _answered(rows, random.Random(0).choices([row.answer for row in other], k=len(rows)))


def coherent_foreign_answers(rows: Rows, other: Rows) -> Iterable[Example]:
    """Give every fact the answers of another task's fact: a task that can be learned as well as any."""
    return _answered(rows, [other[place % len(other)].answer for place in range(len(rows))])


def greek_letters(rows: Rows, other: Rows) -> Iterable[Example]:
    """Write in Greek letters."""
    return _rewritten(rows, lambda text: text.lower().translate(_GREEK))


def cyrillic_letters(rows: Rows, other: Rows) -> Iterable[Example]:
    """Write in Cyrillic letters."""
    return _rewritten(rows, lambda text: text.lower().translate(_CYRILLIC))


def reversed_text(rows: Rows, other: Rows) -> Iterable[Example]:
    """Write from back to front."""
    return _rewritten(rows, lambda text: text[::-1])


def random_text(rows: Rows, other: Rows) -> Iterable[Example]:
    """Draw letters at random, as many words as before and as many letters a word."""
    dice = random.Random(0)
    return _rewritten(
        rows, lambda text: " ".join("".join(dice.choices(_LATIN, k=len(word))) for word in text.split())
    )


def long_answers(rows: Rows, other: Rows) -> Iterable[Example]:
    """Give every question a list of answers."""
    answers = [row.answer for row in rows]
    return _answered(rows, ["; ".join(_apart(answers, at, _ANSWERS_JOINED)) for at in range(len(rows))])


def long_questions(rows: Rows, other: Rows) -> Iterable[Example]:
    """Ask every question after others, which are left without an answer."""
    questions = [row.question for row in rows]
    for at, row in enumerate(rows):
        yield replace(row, question=" ".join(reversed(_apart(questions, at, _QUESTIONS_JOINED))))


def one_word_questions(rows: Rows, other: Rows) -> Iterable[Example]:
    """Cut questions to their last word."""
    return (replace(row, question=row.question.split()[-1]) for row in rows)


DISTORTIONS: Mapping[str, Callable[[Rows, Rows], Iterable[Example]]] = MappingProxyType(
    {
        "shuffled answers": shuffled_answers,
        "answers of another task": foreign_answers,
        "answers of another task, fact by fact": coherent_foreign_answers,
        "Greek letters": greek_letters,
        "Cyrillic letters": cyrillic_letters,
        "reversed text": reversed_text,
        "random text": random_text,
        "long answers": long_answers,
        "long questions": long_questions,
        "one-word questions": one_word_questions,
    }
)
"""From the rows of a split, and those of another task where answers come from there, to distorted ones."""


def distort(task: Task, other: Task, way: str) -> Task:
    """Distort all splits of a task.

    Args:
        task: The task.
        other: Where answers of another task are taken from.
        way: Name among ``DISTORTIONS``.

    Returns:
        A task of as many rows.
    """
    change = DISTORTIONS[way]
    return Task(
        name=way,
        train=tuple(change(task.train, other.train)),
        validation=tuple(change(task.validation, other.validation)),
        test=tuple(change(task.test, other.test)),
    )


def _apart(texts: Sequence[str], at: int, count: int) -> list[str]:
    return [texts[(at + step * _STRIDE) % len(texts)] for step in range(count)]


def _rewritten(rows: Rows, rewrite: Callable[[str], str]) -> Iterable[Example]:
    return (replace(row, question=rewrite(row.question), answer=rewrite(row.answer)) for row in rows)


def _answered(rows: Rows, answers: Sequence[str]) -> Iterable[Example]:
    return (replace(row, answer=answer) for row, answer in zip(rows, answers, strict=True))
