"""Two curves of one trial, compared."""

import math
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.app.reproduction import (
    Change,
    Difference,
    Reproduction,
    compare_curves,
    compare_facts,
)
from orchestrator.contracts import METRIC_COLUMNS, Outcome


def a_curve(epochs: int) -> pd.DataFrame:
    rows = [
        {"epoch": epoch, **{name: epoch + place / 16 for place, name in enumerate(METRIC_COLUMNS)}}
        for epoch in range(1, epochs + 1)
    ]
    return pd.DataFrame(rows).astype(object)


def a_reproduction(**changes: Any) -> Reproduction:
    fields: dict[str, Any] = {
        "trial_id": "t",
        "root": "r",
        "rerun_root": None,
        "epochs": 3,
        "outcome_then": Outcome.COMPLETED,
        "outcome_now": Outcome.COMPLETED,
        "error_now": None,
        "differences": (),
        "not_compared": (),
        "changes": (),
        "tolerance": 1e-3,
    }
    return Reproduction(**(fields | changes))


@given(st.integers(1, 4), st.data())
def test_what_was_altered_is_found_and_nothing_else(epochs: int, data: st.DataObject) -> None:
    then, now = a_curve(epochs), a_curve(epochs)
    assert compare_curves(then, now, epochs) == ((), ())
    row = data.draw(st.integers(0, epochs - 1))
    column = data.draw(st.sampled_from(METRIC_COLUMNS))
    value = data.draw(st.floats(allow_infinity=False).filter(lambda value: value != then.loc[row, column]))
    now.loc[row, column] = value
    ((found,), lacking) = compare_curves(then, now, epochs)
    assert (found.epoch, found.column, found.then) == (row + 1, column, then.loc[row, column])
    assert found.now == (None if math.isnan(value) else value)
    assert lacking == ()


def test_a_missing_epoch_differs_in_every_column() -> None:
    differences, _ = compare_curves(a_curve(3), a_curve(2), 3)
    assert [item.column for item in differences] == list(METRIC_COLUMNS)
    assert {item.epoch for item in differences} == {3}
    assert not a_reproduction(differences=differences).ok


def test_columns_that_were_not_measured_then_are_named_and_not_compared() -> None:
    then = a_curve(2)
    then["eval_rouge_l"] = None
    assert compare_curves(then, a_curve(2), 2) == ((), ("eval_rouge_l",))


@pytest.mark.parametrize(
    ("changes", "ok", "verdict"),
    [
        ({}, True, "equal bit for bit: completed, 3 epochs"),
        ({"differences": (Difference(1, "eval_loss", 1.0, 1.0002),)}, True, "equal within 0.0002: completed"),
        ({"differences": (Difference(1, "eval_loss", 1.0, 1.5),)}, False, "1 values differ, by up to 0.5"),
        ({"differences": (Difference(1, "step", 10.0, 11.0),)}, False, "by up to 1"),
        (
            {"outcome_now": Outcome.FAILED, "error_now": "a defect"},
            False,
            "it was completed and is now failed: a defect",
        ),
    ],
)
def test_a_verdict_says_whether_it_was_reproduced(changes: dict[str, Any], ok: bool, verdict: str) -> None:
    found = a_reproduction(**changes)
    assert found.ok is ok
    assert found.as_dict()["ok"] is ok
    assert verdict in found.verdict


def test_only_what_both_tell_and_tell_differently_is_a_change() -> None:
    then = {"torch": "2.12", "python": "3.11", "worker.host": "a", "gone": "x"}
    now = {"torch": "2.13", "python": "3.11", "worker.host": "b", "new": "y"}
    assert compare_facts(then, now) == (Change("torch", "2.12", "2.13"),)
