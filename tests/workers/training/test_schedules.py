"""Schedules against transformers' own."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import optimization

from workers.training.schedules import DECAY_SHARE, learning_rate_factor, warmup_length

KINDS = ("constant_with_warmup", "linear", "cosine", "warmup_stable_decay")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("total", "warmup"), [(80, 0), (80, 3), (7, 2), (50, 10)])
def test_factors_are_those_of_transformers(kind: str, total: int, warmup: int) -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    decay = math.ceil(DECAY_SHARE * total)
    linear: Any = optimization.get_linear_schedule_with_warmup
    theirs = {
        "constant_with_warmup": lambda: optimization.get_constant_schedule_with_warmup(optimizer, warmup),
        "linear": lambda: linear(optimizer, warmup, total),
        "cosine": lambda: optimization.get_cosine_schedule_with_warmup(optimizer, warmup, total),
        "warmup_stable_decay": lambda: optimization.get_wsd_schedule(
            optimizer, warmup, decay, num_training_steps=total, decay_type="linear"
        ),
    }[kind]()
    for step in range(total):
        ours = learning_rate_factor(kind, step, total=total, warmup=warmup)
        assert ours == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        optimizer.step()
        theirs.step()


@given(st.sampled_from(KINDS), st.integers(1, 500), st.integers(0, 600), st.integers(0, 700))
def test_factors_stay_between_0_and_1(kind: str, total: int, warmup: int, step: int) -> None:
    assert 0.0 <= learning_rate_factor(kind, step, total=total, warmup=warmup) <= 1.0


@given(st.floats(0, 0.999), st.integers(1, 10_000))
def test_a_share_never_warms_up_longer_than_training_lasts(share: float, total: int) -> None:
    assert 0 <= warmup_length(share, total) <= total


def test_from_one_on_a_warmup_counts_steps() -> None:
    assert warmup_length(1, 500) == 1
    assert warmup_length(25, 500) == 25


def test_an_unknown_schedule_is_refused() -> None:
    with pytest.raises(ValueError, match="polynomial"):
        learning_rate_factor("polynomial", 5, total=10, warmup=0)
