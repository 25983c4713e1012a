"""Choosing the hardest wording."""

from collections.abc import Sequence

import torch
from hypothesis import given
from hypothesis import strategies as st

from workers.training.encoding import EncodedExample
from workers.training.selection import hardest


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4), min_size=1, max_size=5))
def test_the_first_of_the_highest_losses_is_chosen_in_every_group(losses: list[list[int]]) -> None:
    flat = [loss for group in losses for loss in group]
    train = [EncodedExample((place, 0), 1, "") for place in range(len(flat))]
    groups, start = [], 0
    for group in losses:
        groups.append(list(range(start, start + len(group))))
        start += len(group)

    def losses_of(examples: Sequence[EncodedExample]) -> torch.Tensor:
        return torch.tensor([float(flat[example.tokens[0]]) for example in examples])

    chosen = hardest(train, groups, losses_of)
    assert chosen == [group[found.index(max(found))] for group, found in zip(groups, losses, strict=True)]


def test_nothing_is_measured_where_there_is_nothing_to_choose() -> None:
    def losses_of(_: Sequence[EncodedExample]) -> torch.Tensor:
        raise AssertionError("measured")

    assert hardest([EncodedExample((1, 2), 1, "")] * 3, [[2], [0]], losses_of) == [2, 0]
