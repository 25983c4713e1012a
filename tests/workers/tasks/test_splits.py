"""Drawn splits depend on content alone, keep what belongs together together, and are never empty."""

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.tasks.records import Example
from workers.tasks.splits import draw_splits

rows = st.lists(
    st.builds(
        Example,
        st.sampled_from([f"q{n}" for n in range(15)]),
        st.sampled_from("ab"),
        st.none() | st.sampled_from("xyz"),
    ),
    max_size=40,
)


def parts(examples: list[Example]) -> list[set[int]]:
    """Connected components by flooding: an independent way to the groups."""
    left, found = set(range(len(examples))), []
    while left:
        part, edge = set(), [left.pop()]
        while edge:
            part.add(edge[-1])
            here = examples[edge.pop()]
            near = {
                n
                for n in left
                if examples[n].question == here.question
                or (here.fact is not None and examples[n].fact == here.fact)
            }
            left -= near
            edge += near
        found.append(part)
    return found


@given(rows, st.sampled_from([("validation", "test"), ("validation",), ("test",)]), st.integers(0, 3))
def test_groups_stay_together_and_no_split_is_empty(
    examples: list[Example], held_out: tuple[str, ...], seed: int
) -> None:
    groups = parts(examples)
    if len(groups) <= len(held_out):
        with pytest.raises(
            ValueError, match=f"{len(examples)} rows with {len(groups)} different facts or questions"
        ):
            draw_splits(examples, held_out, seed=seed)
        return
    splits = draw_splits(examples, held_out, seed=seed)
    assert set(splits) == {"train", *held_out}
    assert all(len({splits[index] for index in group}) == 1 for group in groups)


@given(rows, st.randoms(use_true_random=False), st.integers(0, 3))
def test_order_of_the_rows_changes_no_row_s_split(examples: list[Example], random: object, seed: int) -> None:
    if len(parts(examples)) < 3:
        return
    shuffled = list(examples)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    seen: dict[Example, set[str]] = defaultdict(set)
    for order in (examples, shuffled):
        for example, split in zip(order, draw_splits(order, ("validation", "test"), seed=seed), strict=True):
            seen[example].add(split)
    assert all(len(splits) == 1 for splits in seen.values())


@given(st.integers(3, 200))
def test_a_tenth_goes_to_each_held_out_split(count: int) -> None:
    splits = draw_splits([Example(f"q{n}", "a") for n in range(count)], ("validation", "test"), seed=0)
    assert splits.count("validation") == splits.count("test") == max(1, round(0.1 * count))


def test_large_groups_stay_in_train() -> None:
    examples = [Example(f"q{n}", "a", "big") for n in range(18)] + [Example("one", "a"), Example("two", "a")]
    assert draw_splits(examples, ("validation", "test"), seed=0)[:18] == ["train"] * 18


def test_questions_that_differ_in_case_and_space_alone_stay_together() -> None:
    examples = [Example(f"Who is {n}?", "a") for n in range(30)] + [
        Example(f"who  IS {n}?", "b") for n in range(30)
    ]
    splits = draw_splits(examples, ("validation", "test"), seed=0)
    assert splits[:30] == splits[30:]
