"""The example stream: what an epoch shows."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.training.stream import ExampleStream

_FACTS = st.lists(st.sampled_from(["a", "b", "c", "d", None]), min_size=1, max_size=30)


@given(_FACTS, st.integers(1, 50), st.integers(1, 6))
def test_epochs_continue_one_endless_stream(facts: list[str | None], size: int, epochs: int) -> None:
    stream = ExampleStream(facts, "trial", size)
    whole = ExampleStream(facts, "trial", size * epochs).epoch(1)
    assert [index for epoch in range(1, epochs + 1) for index in stream.epoch(epoch)] == whole


@given(_FACTS, st.integers(1, 5))
def test_every_pass_shows_every_fact_once(facts: list[str | None], passes: int) -> None:
    words = [fact if fact is not None else f"own-{index}" for index, fact in enumerate(facts)]
    count = len(set(words))
    shown = ExampleStream(facts, "trial", count * passes).epoch(1)
    for start in range(0, len(shown), count):
        assert sorted(words[index] for index in shown[start : start + count]) == sorted(set(words))


@given(st.integers(1, 6), st.integers(1, 6))
def test_all_wordings_are_shown_before_any_comes_again(facts: int, wordings: int) -> None:
    names = [f"f{fact}" for fact in range(facts) for _ in range(wordings)]
    stream = ExampleStream(names, "trial", None)
    for epoch in (1, 2):
        assert sorted(stream.epoch(epoch)) == list(range(facts * wordings))


@given(_FACTS, st.integers(1, 40), st.integers(1, 9), st.integers(1, 4), st.booleans())
def test_batches_hold_the_epoch_and_only_one_is_partial(
    facts: list[str | None], size: int, batch_size: int, epoch: int, by_length: bool
) -> None:
    stream = ExampleStream(facts, "trial", size)
    lengths = [(index * 7) % 11 for index in range(len(facts))] if by_length else None
    batches = stream.batches(epoch, batch_size, lengths)
    assert Counter(index for batch in batches for index in batch) == Counter(stream.epoch(epoch))
    assert len(batches) == stream.steps_per_epoch(batch_size)
    assert sum(len(batch) < batch_size for batch in batches) <= 1


def test_length_grouping_wastes_no_more_padding_than_drawn_order() -> None:
    lengths = [5 + (index * 13) % 29 for index in range(120)]
    stream = ExampleStream([None] * 120, "trial", 120)

    def padded(batches: list[list[int]]) -> int:
        return sum(len(batch) * max(lengths[index] for index in batch) for batch in batches)

    assert padded(stream.batches(1, 16, lengths)) < padded(stream.batches(1, 16))


def test_orders_differ_between_trials_and_between_passes() -> None:
    first, second = (ExampleStream([None] * 20, trial, 20) for trial in ("one", "two"))
    assert first.epoch(1) != second.epoch(1)
    assert first.epoch(1) != first.epoch(2)


def test_no_examples_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one example"):
        ExampleStream([], "trial", 3)


@given(_FACTS, st.integers(1, 12), st.integers(0, 50), st.data())
def test_candidates_are_wordings_of_one_fact_beginning_with_the_one_whose_turn_it_is(
    facts: list[str | None], count: int, step: int, data: st.DataObject
) -> None:
    stream = ExampleStream(facts, "trial", None)
    index = data.draw(st.integers(0, len(facts) - 1))
    drawn = stream.candidates(index, count, step)
    same = {place for place, fact in enumerate(facts) if fact == facts[index] and fact is not None} | {index}
    assert drawn[0] == index
    assert len(drawn) == len(set(drawn)) == min(count, len(same))
    assert set(drawn) <= same
    assert drawn == ExampleStream(facts, "trial", 3).candidates(index, count, step)


def test_candidates_differ_between_steps_and_trials() -> None:
    facts = ["one"] * 12
    draws = {
        tuple(ExampleStream(facts, trial, None).candidates(0, 4, step))
        for trial in ("a", "b")
        for step in range(4)
    }
    assert len(draws) == 8
