"""Keyed draws: fixed for ever, in range, without repeats."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.worlds.dice import Dice
from workers.worlds.names import PERSON, draw_names
from workers.worlds.questions import ask, misspell


def test_the_first_draws_of_a_key_never_change() -> None:
    dice = Dice("oracle", 7)
    assert [dice.below(1000) for _ in range(5)] == [501, 891, 949, 147, 196]


def test_keys_are_told_apart_by_their_parts() -> None:
    assert Dice("a", "b").below(10**9) != Dice("ab").below(10**9)


@given(st.integers(0, 100), st.lists(st.integers(), max_size=30), st.data())
def test_a_sample_has_its_count_of_different_places(key: int, items: list[int], data: st.DataObject) -> None:
    count = data.draw(st.integers(0, len(items)))
    places = Dice(key).sample(list(enumerate(items)), count)
    assert len(places) == count == len({place for place, _ in places})
    assert sorted(Dice(key).shuffled(items)) == sorted(items)


@given(st.integers(0, 100), st.integers(1, 1000))
def test_draws_are_in_range(key: int, count: int) -> None:
    assert 0 <= Dice(key).below(count) < count


def test_impossible_draws_are_refused_with_the_value() -> None:
    with pytest.raises(ValueError, match="got 0"):
        Dice().below(0)
    with pytest.raises(ValueError, match="3 of 2"):
        Dice().sample("ab", 3)


@given(st.integers(0, 1000), st.integers(1, 80), st.booleans(), st.floats(0, 1))
def test_names_of_one_side_are_different(key: int, count: int, for_tasks: bool, confusable: float) -> None:
    names = draw_names(PERSON, count, key, for_tasks=for_tasks, confusable=confusable)
    assert len(names) == count == len(set(names))
    other_side = draw_names(PERSON, count, key, for_tasks=not for_tasks, confusable=confusable)
    assert not set(names) & set(other_side)


@given(st.text("abcdefgh {}?", max_size=40), st.integers(0, 1000))
def test_a_slip_touches_one_long_word_and_never_what_stands_in_braces(wording: str, key: int) -> None:
    text = wording + " {entity}"
    before, after = text.split(" "), misspell(text, Dice(key)).split(" ")
    changed = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    assert len(changed) <= 1
    assert all(a.isalpha() and len(a) >= 4 and a[0] == b[0] for a, b in changed)
    assert all(abs(len(a) - len(b)) <= 1 for a, b in changed)


@given(st.lists(st.text("abcd ", min_size=4, max_size=9), unique=True), st.integers(0, 1000))
def test_questions_stay_different_when_every_one_slips(wordings: list[str], key: int) -> None:
    questions = ask([f"{wording} {{entity}}" for wording in wordings], "X", 1.0, Dice(key))
    assert len(questions) == len(set(questions)) == len(wordings)
