"""The text the embedded base model is pretrained on: questions and answers about six of the eight domains.

Four kinds of example make it a model that can be finetuned on new facts and does not know them yet:

- *known*: facts about entities that come again and again, asked without any text at hand. They teach that
  answers are recalled by name.
- *fresh*: the same questions about entities that hardly ever come twice, with values drawn anew. They teach
  the right kind of answer, with no more confidence than a guess deserves, for a name never seen.
- *in context*: fresh entities, with the statements that hold the answer before the question.
- *copied*: single words of all eight domains, in no order, to be repeated. Without them the words of a domain
  that is never asked about keep output weights that no finetuning of the layers below can tell apart.

No entity of pretraining is ever one of a task's (``names.is_for_tasks``), and two domains are never asked
about: of these the model has seen words alone, no question, no fact and no phrase.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from workers.tasks.records import Example
from workers.worlds.dice import Dice
from workers.worlds.domains import DOMAINS
from workers.worlds.domains.schema import Domain, Relation
from workers.worlds.names import draw_fresh_name, draw_names
from workers.worlds.questions import ask, gives_away

UNSEEN_DOMAINS = ("laws", "software")
"""Never asked about."""

_LEADS = ("Repeat these words:", "Say after me:", "Copy:")


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusMix:
    """What pretraining text is made of; what is not fresh, in context or copied is known."""

    entities: int = 48
    """Known entities of each domain."""
    fresh: float = 0.28
    in_context: float = 0.12
    copied: float = 0.12
    typos: float = 0.05
    """Share of the questions with a slip of the keyboard."""
    most_statements: int = 3
    """Statements before a question in context, at most."""
    most_copied_words: int = 6

    def __post_init__(self) -> None:
        for name in ("entities", "most_statements", "most_copied_words"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        kinds = (self.fresh, self.in_context, self.copied)
        if not all(0 <= share <= 1 for share in (*kinds, sum(kinds), self.typos)):
            raise ValueError(
                "fresh, in_context and copied, their sum and typos must be in [0, 1], got "
                f"{', '.join(map(str, kinds))} and {self.typos}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainingCorpus:
    """An endless stream of examples that is a function of seed and mix: any part of it can be made alone."""

    seed: int
    mix: CorpusMix
    domains: tuple[Domain, ...]
    known: dict[str, tuple[str, ...]] = field(repr=False)
    """The known entities of every domain."""

    def known_examples(self, wording: int = 0) -> list[Example]:
        """Return every known fact once, asked in one of its relation's wordings, counted from 0."""
        return [
            Example(
                relation.wordings[wording % len(relation.wordings)].replace("{entity}", entity),
                self._known_value(domain, relation, entity),
                f"{domain.name}/{relation.name}/{entity}",
            )
            for domain in self.domains
            for entity in self.known[domain.name]
            for relation in domain.relations
        ]

    def examples(self, block: int, count: int) -> list[Example]:
        """Return the ``count`` examples of a block, which are a function of seed, mix and block."""
        dice = Dice("pretraining", self.seed, block)
        return [self._draw(dice) for _ in range(count)]

    def _draw(self, dice: Dice) -> Example:
        """Draw one example of one of the four kinds."""
        if dice.chance(self.mix.copied):
            return _copy(1 + dice.below(self.mix.most_copied_words), dice)
        asked = 1 - self.mix.copied
        domain = dice.choice(self.domains)
        relation = dice.choice(domain.relations)
        wording = dice.choice(relation.wordings)
        known = not dice.chance((self.mix.fresh + self.mix.in_context) / asked)
        if known:
            entity = dice.choice(self.known[domain.name])
        else:
            entity = draw_fresh_name(domain.entities, dice, for_tasks=False, taken=self.known[domain.name])
        [question] = ask([wording], entity, self.mix.typos, dice)
        if known:
            return Example(question, self._known_value(domain, relation, entity))
        answer = _fresh_value(relation, question, dice)
        in_context = self.mix.in_context / (self.mix.fresh + self.mix.in_context)
        if dice.chance(in_context):
            question = f"{self._statements(domain, relation, entity, answer, dice)} {question}"
        return Example(question, answer)

    def _known_value(self, domain: Domain, relation: Relation, entity: str) -> str:
        return _fresh_value(relation, entity, Dice("known", self.seed, domain.name, relation.name, entity))

    def _statements(self, domain: Domain, relation: Relation, entity: str, answer: str, dice: Dice) -> str:
        """Say what is asked, among other facts about the entity."""
        count = dice.below(self.mix.most_statements)
        others = [other for other in domain.relations if other is not relation]
        said = [(other, other.value(dice)) for other in dice.sample(others, min(count, len(others)))]
        facts = dice.shuffled([(relation, answer), *said])
        texts = [dice.choice(fact.statements).format(entity=entity, value=value) for fact, value in facts]
        return " ".join(text[0].upper() + text[1:] for text in texts)


def pretraining_corpus(*, seed: int = 0, mix: CorpusMix | None = None) -> PretrainingCorpus:
    """Return the corpus of a seed.

    Args:
        seed: Another seed invents other known entities and another order.
        mix: What it is made of; None: what the shipped base model was pretrained on.

    Returns:
        The corpus.
    """
    mix = mix or CorpusMix()
    domains = tuple(domain for name, domain in DOMAINS.items() if name not in UNSEEN_DOMAINS)
    known = {
        domain.name: tuple(
            draw_names(domain.entities, mix.entities, "pretraining", domain.name, seed, for_tasks=False)
        )
        for domain in domains
    }
    return PretrainingCorpus(seed=seed, mix=mix, domains=domains, known=known)


def tokenizer_texts(count: int, *, seed: int = 0) -> Iterator[str]:
    """Yield text of all eight domains, the unseen ones included, for a tokenizer to be trained on.

    Args:
        count: How many lines: statements, questions with their answers, answers.
        seed: Key of the draws.

    Yields:
        The lines.
    """
    dice = Dice("tokenizer", seed)
    domains = tuple(DOMAINS.values())
    for place in range(count):
        domain = domains[place % len(domains)]
        relation = dice.choice(domain.relations)
        entity = draw_fresh_name(domain.entities, dice, for_tasks=False, taken=())
        # Half the lines are values alone: without, their words are rare beside those of the questions.
        kinds = (
            dice.choice(relation.statements),
            f"{dice.choice(relation.wordings)} {{value}}",
            "{value}",
            "{value}",
        )
        yield " " + kinds[place // len(domains) % 4].format(entity=entity, value=relation.value(dice))


def _copy(count: int, dice: Dice) -> Example:
    """Draw single words of any domain, out of their order, to be repeated."""
    words = []
    for _ in range(count):
        # Half of them from the unseen domains, whose words stand nowhere else.
        domain = DOMAINS[dice.choice(UNSEEN_DOMAINS if dice.chance(0.5) else tuple(DOMAINS))]
        relation = dice.choice(domain.relations)
        name = draw_fresh_name(domain.entities, dice, for_tasks=False, taken=())
        question = dice.choice(relation.questions).replace("{entity}", name)
        texts = (relation.value(dice), relation.value(dice), question, dice.choice(relation.nouns))
        words.append(dice.choice(dice.choice(texts).split()))
    copied = " ".join(words)
    return Example(f"{dice.choice(_LEADS)} {copied}", copied)


def _fresh_value(relation: Relation, text: str, dice: Dice) -> str:
    """Draw a value that this text does not give away."""
    while True:
        value = relation.value(dice)
        if not gives_away(text, value):
            return value
