"""Atomic facts: asking for those of a passage, and which are kept."""

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from orchestrator.contracts import digest
from workers.documents.passages import Passage
from workers.documents.rejects import Reason
from workers.documents.wording import content_words, marks, normalised, numbers, refers_to_passage
from workers.endpoint import Question
from workers.prompts import Prompt

MOST_WORDS = 60
NEAR = 0.8
"""Facts with the same names and numbers say the same from this share of common words on (Jaccard's)."""


class FactList(BaseModel):
    """The shape of an answer."""

    model_config = ConfigDict(extra="forbid")

    facts: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A sentence that says one thing, and where it comes from."""

    fact_id: str
    """Hash of the sentence; the ``fact`` of its examples."""
    text: str
    passage: Passage


def ask_for_facts(prompt: Prompt, passage: Passage, *, most: int, max_tokens: int) -> Question[FactList]:
    """Return the question for a passage's facts."""
    messages = prompt.fill(title=passage.title, passage=passage.text, most=str(most))
    return Question(messages=messages, shape=FactList, max_tokens=max_tokens)


class FactSieve:
    """Keeps facts that stand on their own, are the passage's, and were not said before."""

    def __init__(self) -> None:
        self._kept: dict[frozenset[str], list[frozenset[str]]] = {}
        """Content words of the facts kept, by their names and numbers."""

    def sift(self, text: str, passage: Passage) -> Fact | Reason:
        """Keep a fact, or say why not.

        Args:
            text: What the model gave.
            passage: Which it was shown.

        Returns:
            The fact, from now on known to the sieve, or the reason.
        """
        text = " ".join(text.split())
        reason = _why_not(text, passage)
        if reason is None and self._is_known(text):
            reason = Reason.DUPLICATE
        if reason is not None:
            return reason
        self._kept.setdefault(marks(text), []).append(content_words(text))
        return Fact(fact_id=digest(["fact", text]), text=text, passage=passage)

    def _is_known(self, text: str) -> bool:
        """Whether a fact with the same names and numbers shares nearly all of its words with this one."""
        mine = content_words(text)
        return any(_share(mine, theirs) >= NEAR for theirs in self._kept.get(marks(text), ()))


def _why_not(text: str, passage: Passage) -> Reason | None:
    if not normalised(text):
        return Reason.EMPTY
    if len(text.split()) > MOST_WORDS:
        return Reason.LONG
    if refers_to_passage(text):
        return Reason.OF_THE_PASSAGE
    if not numbers(text) <= numbers(f"{passage.title} {passage.text}"):
        return Reason.UNGROUNDED
    return None


def _share(one: Iterable[str], other: Iterable[str]) -> float:
    """Return the share of the words of either that are words of both; 1 where neither has any."""
    first, second = frozenset(one), frozenset(other)
    return len(first & second) / len(first | second) if first | second else 1.0
