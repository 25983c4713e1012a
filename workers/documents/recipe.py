"""The recipe of the paper's synthetic tasks: passages to atomic facts to twelve question-answer pairs a fact.

Source: "Transfer Learning for Finetuning Large Language Models" (arXiv 2411.01195) names the steps; what is
asked and what is kept is ours. The recipe is a pure function of the passages and of the answers it gets, so
that going on after a kill is doing it again with the answers that are on disk.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.contracts import InputError
from workers.documents.asking import Asker, Unanswered
from workers.documents.facts import Fact, FactSieve, ask_for_facts
from workers.documents.pairs import PAIRS_PER_FACT, PairSieve, PairsOfFact, ask_for_pairs, split_pairs
from workers.documents.passages import Passage, split_passages
from workers.documents.reading import Document
from workers.documents.rejects import Reason, Reject, Rejects, Stage
from workers.documents.wording import normalised
from workers.prompts import Prompt, load_prompts
from workers.tasks.records import Task

PROMPTS = {
    "facts": frozenset({"title", "passage", "most"}),
    "pairs": frozenset({"title", "passage", "fact", "count", "taken", "rejected"}),
}
"""The prompts of this recipe, and the names in them."""
ROUNDS = 3
"""How often pairs of one fact are asked for, if too few are kept."""
LEAST_LETTERS = 40
"""A passage with fewer letters and digits holds no fact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeSettings:
    """How documents become a task."""

    passage_chars: int = 3000
    """Length of a passage at most."""
    facts_per_passage: int = 10
    """Kept at most."""
    max_tokens: int = 2048
    """Cap on each answer of the model."""
    most_passages: int | None = None
    """Only so many, from the first on; None: all."""

    def __post_init__(self) -> None:
        bounds = {"passage_chars": 200, "facts_per_passage": 1, "max_tokens": 64, "most_passages": 1}
        problems = [
            f"{name} must be at least {least}, got {getattr(self, name)}"
            for name, least in bounds.items()
            if getattr(self, name) is not None and getattr(self, name) < least
        ]
        if problems:
            raise InputError(*problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cooked:
    """What came out of the recipe."""

    task: Task
    facts: tuple[Fact, ...]
    """Those in the task, in order."""


class Recipe:
    """Makes one task.

    Args:
        settings: How.
        prompts: Folder of prompts in place of those shipped; None: as shipped.

    Raises:
        InputError: A prompt can't be used.
    """

    def __init__(self, settings: RecipeSettings, *, prompts: Path | None = None) -> None:
        self._settings = settings
        self.prompts: dict[str, Prompt] = load_prompts(PROMPTS, prompts)
        self.rejects = Rejects()
        """What was not kept, so far."""

    def passages(self, documents: Sequence[Document]) -> list[Passage]:
        """Cut documents, and leave out what is repeated or too short.

        Args:
            documents: In order.

        Returns:
            The passages to ask about.
        """
        seen: set[str] = set()
        kept: list[Passage] = []
        for document in documents:
            for passage in split_passages(document, most_chars=self._settings.passage_chars):
                text = normalised(passage.text)
                if len(text.replace(" ", "")) < LEAST_LETTERS:
                    self._reject_passage(passage, Reason.SHORT)
                elif text in seen:
                    self._reject_passage(passage, Reason.REPEATED)
                else:
                    seen.add(text)
                    kept.append(passage)
        return kept[: self._settings.most_passages]

    def make_task(self, name: str, passages: Sequence[Passage], asker: Asker) -> Cooked | None:
        """Ask for facts and pairs, and keep what is good.

        Args:
            name: What to call the task.
            passages: From ``passages``.
            asker: Answers questions; what it raises is raised here.

        Returns:
            The task: ten examples a fact to train, one to validate, one to test; or None if nothing was kept,
            and ``rejects`` tell why.
        """
        facts = self._facts(passages, asker)
        complete = self._pairs(facts, asker)
        if not complete:
            return None
        train, validation, test = [], [], []
        for pairs in complete:
            ten, one, other = split_pairs(pairs)
            train += ten
            validation.append(one)
            test.append(other)
        task = Task(name=name, train=tuple(train), validation=tuple(validation), test=tuple(test))
        return Cooked(task=task, facts=tuple(pairs.fact for pairs in complete))

    def _facts(self, passages: Sequence[Passage], asker: Asker) -> list[Fact]:
        settings = self._settings
        most = settings.facts_per_passage
        questions = [
            ask_for_facts(self.prompts["facts"], passage, most=most, max_tokens=settings.max_tokens)
            for passage in passages
        ]
        sieve = FactSieve()
        facts = []
        for passage, answer in zip(passages, asker.ask_all("facts", questions), strict=True):
            if isinstance(answer, Unanswered):
                self._reject_passage(passage, answer.reason, answer.detail)
                continue
            kept = 0
            for text in answer.facts:
                sifted = Reason.SURPLUS if kept == most else sieve.sift(text, passage)
                if isinstance(sifted, Reason):
                    self._reject_fact(text, passage, sifted)
                else:
                    facts.append(sifted)
                    kept += 1
        return facts

    def _pairs(self, facts: Sequence[Fact], asker: Asker) -> list[PairsOfFact]:
        """Return those facts' pairs that are as many as they should be."""
        sieve = PairSieve()
        every = [PairsOfFact(fact) for fact in facts]
        unanswered: dict[str, Unanswered] = {}
        for number in range(1, ROUNDS + 1):
            wanting = [pairs for pairs in every if pairs.missing and pairs.fact.fact_id not in unanswered]
            questions = [
                ask_for_pairs(self.prompts["pairs"], pairs, max_tokens=self._settings.max_tokens)
                for pairs in wanting
            ]
            stage = "pairs" if number == 1 else f"pairs, round {number}"
            for pairs, answer in zip(wanting, asker.ask_all(stage, questions), strict=True):
                if isinstance(answer, Unanswered):
                    unanswered[pairs.fact.fact_id] = answer
                    continue
                for given in answer.pairs:
                    pair, reason = (
                        (given, Reason.SURPLUS) if not pairs.missing else sieve.sift(given, pairs.fact)
                    )
                    if reason is None:
                        pairs.kept.append(pair)
                    else:
                        pairs.rejected.append((pair, reason))
        for pairs in every:
            self._note(pairs, unanswered.get(pairs.fact.fact_id))
        return [pairs for pairs in every if not pairs.missing]

    def _note(self, pairs: PairsOfFact, unanswered: Unanswered | None) -> None:
        """Note what of a fact's pairs was rejected, and the fact itself if too few were kept."""
        fact = pairs.fact
        for pair, reason in pairs.rejected:
            self.rejects.add(
                Reject(
                    stage=Stage.PAIR,
                    reason=reason,
                    document=fact.passage.document,
                    passage=fact.passage.number,
                    text=pair.question,
                    answer=pair.answer,
                    fact=fact.fact_id,
                )
            )
        if pairs.missing:
            kept = f"{len(pairs.kept)} of {PAIRS_PER_FACT} pairs"
            reason = unanswered.reason if unanswered else Reason.TOO_FEW_PAIRS
            detail = f"{kept}; {unanswered.detail}" if unanswered else kept
            self._reject_fact(fact.text, fact.passage, reason, detail)

    def _reject_fact(self, text: str, passage: Passage, reason: Reason, detail: str | None = None) -> None:
        self.rejects.add(
            Reject(
                stage=Stage.FACT,
                reason=reason,
                document=passage.document,
                passage=passage.number,
                text=text,
                detail=detail,
            )
        )

    def _reject_passage(self, passage: Passage, reason: Reason, detail: str | None = None) -> None:
        self.rejects.add(
            Reject(
                stage=Stage.PASSAGE,
                reason=reason,
                document=passage.document,
                passage=passage.number,
                text=passage.text[:80],
                detail=detail,
            )
        )
