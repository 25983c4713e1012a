"""Synthetic tasks: counts, disjointness, what each knob changes, and what they are a function of."""

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.contracts import InputError
from workers.tasks.records import SPLITS, Example
from workers.worlds import SHIPPED_KNOBS, TASK_NAMES, WorldKnobs, build_task, pretraining_corpus
from workers.worlds.domains import DOMAINS

KNOBS = st.builds(
    WorldKnobs,
    facts=st.integers(1, 60),
    relations=st.integers(1, 6),
    wordings=st.integers(12, 44),
    typos=st.floats(0, 1),
    noise=st.floats(0, 0.9),
    held_out=st.booleans(),
    confusable=st.floats(0, 1),
    answer_parts=st.integers(1, 4),
)
NAMES = st.sampled_from(TASK_NAMES)
SEEDS = st.integers(0, 10_000)

_NAMES = {
    domain.name: re.compile(
        domain.entities.form.replace("{}", "({})").format(*("|".join(slot) for slot in domain.entities.slots))
    )
    for domain in DOMAINS.values()
}

_PRINT_IDS = """
from workers.worlds import TASK_NAMES, build_task, pretraining_corpus
from workers.worlds.corpus import tokenizer_texts
import hashlib
print([build_task(name, seed=seed).task_id for name in TASK_NAMES for seed in (0, 3)])
corpus = pretraining_corpus(seed=1)
text = repr((corpus.examples(7, 50), corpus.known_examples(), list(tokenizer_texts(50))))
print(hashlib.sha256(text.encode()).hexdigest())
"""


def entity_and_wording(domain: str, question: str) -> tuple[str, str]:
    """What a question without a slip asks about, and in which words."""
    for relation in DOMAINS[domain].relations:
        for wording in relation.wordings:
            before, _, after = wording.partition("{entity}")
            fits = question.startswith(before) and question.endswith(after)
            entity = question[len(before) : len(question) - len(after)]
            if fits and _NAMES[domain].fullmatch(entity):
                return entity, wording
    raise AssertionError(f"no wording of {domain} gives {question!r}")


def wordings_of(domain: str, examples: Sequence[Example]) -> set[str]:
    """The ways a split without slips asks."""
    return {entity_and_wording(domain, example.question)[1] for example in examples}


def _parts_apart(name: str, other: str) -> int:
    """How many of a person's four name parts differ."""
    parts, others = (_NAMES["people"].fullmatch(text) for text in (name, other))
    assert parts is not None
    assert others is not None
    return sum(a != b for a, b in zip(parts.groups(), others.groups(), strict=True))


def run_python(code: str, hash_seed: str) -> str:
    """What a fresh interpreter with this hash seed prints."""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_worlds_are_the_same_in_every_process_whatever_its_hash_seed() -> None:
    assert run_python(_PRINT_IDS, "1") == run_python(_PRINT_IDS, "2")


def test_worlds_are_imported_without_torch() -> None:
    code = "import sys, workers.worlds; print(sorted({'torch', 'transformers', 'numpy'} & set(sys.modules)))"
    assert run_python(code, "0").strip() == "[]"


def test_there_are_eight_tasks_and_they_differ() -> None:
    assert len(TASK_NAMES) == len(DOMAINS) == 8
    assert len({build_task(name).task_id for name in TASK_NAMES}) == 8
    assert len(set(SHIPPED_KNOBS.values())) == 8


@settings(max_examples=60, deadline=None)
@given(NAMES, SEEDS, KNOBS)
def test_every_fact_has_ten_one_and_one_questions_all_different(
    name: str, seed: int, knobs: WorldKnobs
) -> None:
    task = build_task(name, seed=seed, knobs=knobs)
    counts = [Counter(example.fact for example in task.split(split)) for split in SPLITS]
    assert [set(count.values()) for count in counts] == [{10}, {1}, {1}]
    assert len(counts[0]) == knobs.facts
    assert set(counts[0]) == set(counts[1]) == set(counts[2])
    questions = [example.question for split in SPLITS for example in task.split(split)]
    assert len(questions) == len(set(questions)) == 12 * knobs.facts


@settings(max_examples=60, deadline=None)
@given(NAMES, SEEDS, KNOBS)
def test_no_question_holds_its_answer(name: str, seed: int, knobs: WorldKnobs) -> None:
    task = build_task(name, seed=seed, knobs=knobs)
    for split in SPLITS:
        for example in task.split(split):
            assert example.answer == example.answer.strip() != ""
            assert example.answer.casefold() not in example.question.casefold()


@settings(max_examples=40, deadline=None)
@given(NAMES, SEEDS, KNOBS)
def test_noise_is_the_exact_share_of_wrong_training_answers_and_nothing_else(
    name: str, seed: int, knobs: WorldKnobs
) -> None:
    task = build_task(name, seed=seed, knobs=knobs)
    right = {example.fact: example.answer for example in task.validation}
    assert right == {example.fact: example.answer for example in task.test}
    wrong = [example for example in task.train if example.answer != right[example.fact]]
    assert len(wrong) == round(knobs.noise * len(task.train))


def test_more_noise_keeps_questions_and_facts() -> None:
    clean = build_task("towns", knobs=WorldKnobs(facts=20))
    noisy = build_task("towns", knobs=WorldKnobs(facts=20, noise=0.5))
    assert (noisy.validation, noisy.test) == (clean.validation, clean.test)
    assert [e.question for e in noisy.train] == [e.question for e in clean.train]
    assert noisy.train != clean.train


def test_typos_change_their_share_of_questions_and_keep_answers_and_entities() -> None:
    plain = build_task("compounds", knobs=WorldKnobs(facts=100))
    slipped = build_task("compounds", knobs=WorldKnobs(facts=100, typos=0.5))
    pairs = [pair for split in SPLITS for pair in zip(plain.split(split), slipped.split(split), strict=True)]
    changed = [(before, after) for before, after in pairs if before.question != after.question]
    assert 0.42 < len(changed) / len(pairs) < 0.55  # a slip in a doubled letter can leave the text as it was
    assert all(before.answer == after.answer and before.fact == after.fact for before, after in pairs)
    for before, after in changed:
        assert abs(len(before.question) - len(after.question)) <= 1
        assert sum(a != b for a, b in zip(before.question.split(), after.question.split(), strict=True)) == 1


def test_held_out_wordings_are_never_trained() -> None:
    task = build_task("people", knobs=WorldKnobs(facts=60, relations=1, held_out=True))
    asked = wordings_of("people", task.validation) | wordings_of("people", task.test)
    assert not asked & wordings_of("people", task.train)
    shared = build_task("people", knobs=WorldKnobs(facts=60, relations=1))
    assert wordings_of("people", shared.test) <= wordings_of("people", shared.train)


@pytest.mark.parametrize("wordings", [12, 20, 44])
def test_a_task_asks_in_as_many_ways_as_its_pool_has(wordings: int) -> None:
    task = build_task("towns", knobs=WorldKnobs(facts=60, relations=1, wordings=wordings))
    used = set().union(*(wordings_of("towns", task.split(split)) for split in SPLITS))
    assert len(used) == wordings


def test_confusable_names_differ_from_an_earlier_one_in_one_part() -> None:
    def lookalikes(confusable: float) -> int:
        task = build_task("people", knobs=WorldKnobs(facts=60, relations=1, confusable=confusable))
        names = sorted({entity_and_wording("people", example.question)[0] for example in task.test})
        assert len(names) == 60
        return sum(any(_parts_apart(name, other) == 1 for other in names) for name in names)

    assert lookalikes(0.0) < 15 < 45 < lookalikes(1.0)


def test_more_answer_parts_make_longer_answers_to_the_same_questions() -> None:
    short, long = (build_task("people", knobs=WorldKnobs(facts=60, answer_parts=parts)) for parts in (1, 3))
    assert [e.question for e in short.train] == [e.question for e in long.train]
    words = [sum(len(e.answer.split()) for e in task.test) for task in (short, long)]
    assert words[1] > 2 * words[0]
    assert all(" and " in e.answer for e in long.test)


@pytest.mark.parametrize("name", TASK_NAMES)
def test_another_seed_invents_other_facts(name: str) -> None:
    first, second = (build_task(name, seed=seed) for seed in (0, 1))
    shared = {e.question for e in first.train} & {e.question for e in second.train}
    assert not shared
    assert first.name == name
    assert second.name == f"{name}-seed=1"


@settings(max_examples=20, deadline=None)
@given(NAMES, SEEDS, st.integers(0, 5))
def test_no_entity_of_a_task_is_ever_pretrained_on(name: str, seed: int, block: int) -> None:
    knobs = replace(SHIPPED_KNOBS[name], typos=0.0)
    task = build_task(name, seed=seed, knobs=knobs)
    entities = {entity_and_wording(name, example.question)[0] for example in task.test}
    assert len(entities) >= knobs.facts // knobs.relations
    corpus = pretraining_corpus(seed=seed)
    known = {entity for names in corpus.known.values() for entity in names}
    assert not entities & known
    text = " ".join(re.split(r"[ ?.,:]+", "\n".join(e.question for e in corpus.examples(block, 300))))
    assert not any(f" {entity} " in text for entity in entities)


def test_unknown_names_and_negative_seeds_are_refused_with_what_there_is() -> None:
    with pytest.raises(InputError, match=r"no built-in task 'planets'.*towns"):
        build_task("planets")
    with pytest.raises(InputError, match="-1"):
        build_task("towns", seed=-1)


@pytest.mark.parametrize(
    ("knob", "value"),
    [
        ("facts", 0),
        ("facts", 401),
        ("facts", 2.5),
        ("facts", True),
        ("relations", 7),
        ("wordings", 11),
        ("typos", 1.1),
        ("noise", 0.95),
        ("noise", float("nan")),
        ("held_out", 1),
        ("confusable", -0.1),
        ("answer_parts", 5),
    ],
)
def test_knobs_out_of_range_are_refused_by_name_and_value(knob: str, value: object) -> None:
    with pytest.raises(InputError, match=rf"{knob} must be .*got {value!r}"):
        WorldKnobs(**{knob: value})  # type: ignore[arg-type]


def test_all_bad_knobs_are_shown_together() -> None:
    with pytest.raises(InputError, match="2 problems") as caught:
        WorldKnobs(facts=0, noise=2.0)
    assert len(caught.value.problems) == 2
