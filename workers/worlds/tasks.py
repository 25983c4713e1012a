"""Synthetic tasks: atomic facts about invented things, each worded in 12 question-answer pairs.

A task is a function of (domain, world seed, knobs). Every draw has a key of its own, so that a knob changes
what it is about and nothing else: with more noise the same questions get more wrong answers.
"""

from dataclasses import dataclass

from orchestrator.contracts import InputError, digest
from workers.tasks.records import Example, Task
from workers.worlds.dice import Dice
from workers.worlds.domains import DOMAINS
from workers.worlds.domains.schema import Domain, Relation
from workers.worlds.knobs import SHIPPED_KNOBS, TRAIN_WORDINGS, WORDINGS_PER_FACT, WorldKnobs
from workers.worlds.names import draw_names
from workers.worlds.questions import ask, gives_away
from workers.worlds.references import knob_text

TASK_NAMES: tuple[str, ...] = tuple(sorted(SHIPPED_KNOBS))
"""The eight built-in tasks, named after their domains."""


@dataclass(frozen=True, slots=True)
class _Fact:
    entity: str
    relation: Relation
    answer: str
    questions: tuple[str, ...]
    """Ten to train, one to validate, one to test, in this order."""


def build_task(name: str, *, seed: int = 0, knobs: WorldKnobs | None = None) -> Task:
    """Build a synthetic task.

    Args:
        name: One of ``TASK_NAMES``.
        seed: World seed; another seed invents other entities and facts.
        knobs: How the task is drawn; None: as it ships.

    Returns:
        The task. With the shipped knobs and seed 0 it is called ``name``; otherwise its name tells both.

    Raises:
        InputError: There is no such task, or the seed is negative.
    """
    if name not in DOMAINS:
        raise InputError(f"there is no built-in task {name!r}; there are {', '.join(TASK_NAMES)}")
    if seed < 0:
        raise InputError(f"the world seed must not be negative, got {seed}")
    knobs = knobs or SHIPPED_KNOBS[name]
    facts = _draw_facts(DOMAINS[name], seed, knobs)
    train = [(fact, question) for fact in facts for question in fact.questions[:TRAIN_WORDINGS]]
    wrong = _wrong_answers(train, name, seed, knobs)
    ids = {
        (fact.entity, fact.relation.name): digest([name, seed, fact.entity, fact.relation.name])
        for fact in facts
    }
    examples = [
        Example(question, wrong.get(row, fact.answer), ids[fact.entity, fact.relation.name])
        for row, (fact, question) in enumerate(train)
    ]
    held = [
        tuple(
            Example(fact.questions[place], fact.answer, ids[fact.entity, fact.relation.name])
            for fact in facts
        )
        for place in range(TRAIN_WORDINGS, WORDINGS_PER_FACT)
    ]
    label = "-".join([name, *knob_text(seed, knobs, SHIPPED_KNOBS[name], "=")])
    return Task(name=label, train=tuple(examples), validation=held[0], test=held[1])


def _draw_facts(domain: Domain, seed: int, knobs: WorldKnobs) -> list[_Fact]:
    """Draw the facts, each with its 12 questions."""
    relations = Dice(domain.name, seed, "relations").shuffled(domain.relations)[: knobs.relations]
    entities = draw_names(
        domain.entities,
        -(-knobs.facts // len(relations)),
        *(domain.name, seed),
        for_tasks=True,
        confusable=knobs.confusable,
    )
    pools = {relation.name: _wording_pools(domain.name, seed, relation, knobs) for relation in relations}
    pairs = [(entity, relation) for entity in entities for relation in relations][: knobs.facts]
    facts = []
    for entity, relation in Dice(domain.name, seed, "order").shuffled(pairs):
        key = (domain.name, seed, entity, relation.name)
        shown, asked = pools[relation.name]
        chosen = Dice("wordings", *key).sample(shown, TRAIN_WORDINGS if asked else WORDINGS_PER_FACT)
        if asked:
            chosen += Dice("asked", *key).sample(asked, WORDINGS_PER_FACT - TRAIN_WORDINGS)
        questions = ask(chosen, entity, knobs.typos, Dice("typos", *key))
        answer = _draw_answer(relation, questions, Dice("answer", *key), knobs.answer_parts)
        facts.append(_Fact(entity, relation, answer, tuple(questions)))
    return facts


def _wording_pools(
    domain: str, seed: int, relation: Relation, knobs: WorldKnobs
) -> tuple[list[str], list[str]]:
    """Return the wordings a relation is trained in, and those it is asked in if these are held out."""
    pool = Dice("pool", domain, seed, relation.name).shuffled(relation.wordings)[: knobs.wordings]
    if not knobs.held_out:
        return pool, []
    count = max(WORDINGS_PER_FACT - TRAIN_WORDINGS, len(pool) // 5)
    return pool[count:], pool[:count]


def _draw_answer(
    relation: Relation, questions: list[str], dice: Dice, parts: int, not_this: str | None = None
) -> str:
    """Draw a value, or a list of several, that none of the questions gives away."""
    while True:
        answer = _listed([relation.value(dice) for _ in range(parts)])
        if answer != not_this and not any(gives_away(question, answer) for question in questions):
            return answer


def _listed(values: list[str]) -> str:
    """Return values as one text, each once: ``a``, ``a and b``, ``a, b and c``."""
    *first, last = dict.fromkeys(values)
    return f"{', '.join(first)} and {last}" if first else last


def _wrong_answers(train: list[tuple[_Fact, str]], name: str, seed: int, knobs: WorldKnobs) -> dict[int, str]:
    """Draw a wrong answer for this share of the training rows: the row's number to what it gets."""
    count = round(knobs.noise * len(train))
    rows = Dice("noise", name, seed, len(train)).shuffled(range(len(train)))[:count]
    wrong = {}
    for row in rows:
        fact, question = train[row]
        dice = Dice("wrong", name, seed, question)
        wrong[row] = _draw_answer(fact.relation, [question], dice, knobs.answer_parts, fact.answer)
    return wrong
