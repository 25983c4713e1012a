"""Question-answer pairs about a fact: asking for them, which are kept, and to which split they go."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict

from orchestrator.contracts import digest
from workers.documents.facts import Fact
from workers.documents.rejects import Reason
from workers.documents.wording import mentions, normalised, numbers, refers_to_passage, words
from workers.endpoint import Question
from workers.prompts import Prompt
from workers.tasks.records import Example

TRAIN_PAIRS = 10
PAIRS_PER_FACT = 12
"""Ten to train, one to validate, one to test."""
SPARE_PAIRS = 2
"""Asked for beyond what is missing, since some will not be kept."""
SHORT_ANSWER_WORDS = 5
"""An answer of so many words has to stand in the passage or the fact; a longer one only its numbers."""
MOST_ANSWER_WORDS = 60


class Pair(BaseModel):
    """One pair of an answer's shape."""

    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)

    question: str
    answer: str


class PairList(BaseModel):
    """The shape of an answer."""

    model_config = ConfigDict(extra="forbid")

    pairs: list[Pair]


@dataclass(slots=True)
class PairsOfFact:
    """What has been kept and what has not, of one fact's pairs."""

    fact: Fact
    kept: list[Pair] = field(default_factory=list)
    rejected: list[tuple[Pair, Reason]] = field(default_factory=list)

    @property
    def missing(self) -> int:
        """How many pairs there should be more."""
        return PAIRS_PER_FACT - len(self.kept)


def ask_for_pairs(prompt: Prompt, pairs: PairsOfFact, *, max_tokens: int) -> Question[PairList]:
    """Return the question for the pairs that a fact still needs."""
    fact = pairs.fact
    messages = prompt.fill(
        title=fact.passage.title,
        passage=fact.passage.text,
        fact=fact.text,
        count=str(pairs.missing + SPARE_PAIRS),
        taken=_listed([pair.question for pair in pairs.kept]),
        rejected=_listed([f"{pair.question} ({reason})" for pair, reason in pairs.rejected]),
    )
    return Question(messages=messages, shape=PairList, max_tokens=max_tokens)


class PairSieve:
    """Keeps pairs that can be asked without the passage, and no question twice in the whole task."""

    def __init__(self) -> None:
        self._questions: set[str] = set()

    def sift(self, given: Pair, fact: Fact) -> tuple[Pair, Reason | None]:
        """Tidy a pair, and keep it or say why not.

        Args:
            given: From the model.
            fact: What it is about.

        Returns:
            The pair with single spaces, and None if it is kept: its question is from now on known to the
            sieve. Else the reason.
        """
        pair = Pair(question=" ".join(given.question.split()), answer=" ".join(given.answer.split()))
        reason = _why_not(pair, fact)
        question = normalised(pair.question)
        if reason is None and question in self._questions:
            reason = Reason.DUPLICATE
        if reason is None:
            self._questions.add(question)
        return pair, reason


def split_pairs(pairs: PairsOfFact) -> tuple[list[Example], Example, Example]:
    """Divide a fact's twelve pairs.

    Models give plain wordings first and far-fetched ones last; so the order is one of hashes.

    Args:
        pairs: As many as they should be.

    Returns:
        Ten examples to train, one to validate, one to test.
    """
    fact_id = pairs.fact.fact_id
    order = sorted(pairs.kept, key=lambda pair: digest([fact_id, pair.question]))
    examples = [Example(pair.question, pair.answer, fact_id) for pair in order]
    validation, test = examples[TRAIN_PAIRS:]
    return examples[:TRAIN_PAIRS], validation, test


def _why_not(pair: Pair, fact: Fact) -> Reason | None:
    if not normalised(pair.question) or not normalised(pair.answer):
        return Reason.EMPTY
    if len(pair.answer.split()) > MOST_ANSWER_WORDS:
        return Reason.LONG
    if refers_to_passage(pair.question):
        return Reason.OF_THE_PASSAGE
    if mentions(pair.question, pair.answer):
        return Reason.GIVEN_AWAY
    if not _is_grounded(pair.answer, fact):
        return Reason.UNGROUNDED
    return None


def _is_grounded(answer: str, fact: Fact) -> bool:
    source = f"{fact.text}\n{fact.passage.text}"
    if len(words(answer)) <= SHORT_ANSWER_WORDS:
        return mentions(source, answer)
    return numbers(answer) <= numbers(source)


def _listed(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines) or "(none)"
