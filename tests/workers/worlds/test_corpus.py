"""Pretraining text: four kinds in their shares, known facts that never change, unseen domains left out."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.worlds import CorpusMix, pretraining_corpus
from workers.worlds.corpus import UNSEEN_DOMAINS, tokenizer_texts
from workers.worlds.domains import DOMAINS


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 10_000), st.integers(1, 40))
def test_a_block_is_a_function_of_seed_and_number(seed: int, block: int, count: int) -> None:
    examples = pretraining_corpus(seed=seed).examples(block, count)
    assert len(examples) == count
    assert examples == pretraining_corpus(seed=seed).examples(block, count)
    assert examples != pretraining_corpus(seed=seed).examples(block + 1, count)
    assert all(example.answer for example in examples)


def test_known_facts_are_asked_with_one_answer_however_they_are_worded() -> None:
    corpus = pretraining_corpus(
        seed=2, mix=CorpusMix(entities=8, fresh=0.0, in_context=0.0, copied=0.0, typos=0.0)
    )
    worded = {
        example.question: example.answer
        for wording in range(50)
        for example in corpus.known_examples(wording)
    }
    drawn = corpus.examples(0, 2000)
    assert {example.question for example in drawn} <= set(worded)
    assert all(worded[example.question] == example.answer for example in drawn)


def test_the_kinds_have_their_shares() -> None:
    corpus = pretraining_corpus()
    names = {entity for entities in corpus.known.values() for entity in entities}
    examples = corpus.examples(0, 5000)
    copied = [example for example in examples if example.question.endswith(f": {example.answer}")]
    in_context = [example for example in examples if f"is {example.answer}. " in example.question]
    known = [example for example in examples if any(name in example.question for name in names)]
    assert abs(len(copied) / 5000 - 0.12) < 0.02
    assert abs(len(in_context) / 5000 - 0.12) < 0.02
    assert abs(len(known) / 5000 - 0.48) < 0.03


def test_of_the_unseen_domains_words_are_copied_and_nothing_is_asked() -> None:
    corpus = pretraining_corpus()
    assert {domain.name for domain in corpus.domains} == set(DOMAINS) - set(UNSEEN_DOMAINS)
    examples = corpus.examples(0, 5000)
    asked = [example for example in examples if not example.question.endswith(f": {example.answer}")]
    shown = " ".join(f"{example.question} {example.answer}" for example in asked)
    copied = " ".join(example.answer for example in examples if example not in asked)
    text = " ".join(tokenizer_texts(5000))
    for phrase in ("two days in the stocks", "default port", "escape clause", "fetch --quiet"):
        assert phrase in text
        assert phrase not in shown
    for word in ("stocks", "--quiet", "Decree"):
        assert word in copied
        assert word not in shown


def test_known_facts_are_drawn_from_every_domain_about_as_often() -> None:
    corpus = pretraining_corpus(mix=CorpusMix(typos=0.0, fresh=0.0, in_context=0.0, copied=0.0))
    home = {entity: domain for domain, entities in corpus.known.items() for entity in entities}
    drawn = Counter(
        next(home[entity] for entity in home if entity in example.question)
        for example in corpus.examples(0, 1200)
    )
    assert set(drawn) == set(DOMAINS) - set(UNSEEN_DOMAINS)
    assert 150 < min(drawn.values()) <= max(drawn.values()) < 250


@pytest.mark.parametrize(
    ("field", "value"),
    [("entities", 0), ("most_statements", 0), ("fresh", 0.9), ("copied", -0.1), ("typos", 1.5)],
)
def test_an_impossible_mix_is_refused_with_the_value(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"{field}.* must be .*{value}"):
        CorpusMix(**{field: value})  # type: ignore[arg-type]
