from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.contracts import METRIC_COLUMNS, CurvePoint, Outcome, TaskId, TrainingSettings, Trial


def a_trial(**changes: Any) -> Trial:
    content: dict[str, Any] = {
        "task_id": TaskId("t"),
        "task_source": "worlds:towns",
        "task_name": "towns",
        "config": {"learning_rate": 0.001, "lora_r": 8},
        "seed": 0,
        "base_model": "tiny-phi3",
        "base_fingerprint": "f",
        "space_version": "v",
        "settings": TrainingSettings(horizon_epochs=10),
        "max_epochs": 5,
    }
    return Trial(**(content | changes))


@pytest.mark.parametrize(
    "change",
    [
        {"task_source": "elsewhere.jsonl"},
        {"task_name": "other"},
        {"base_model": "/another/copy"},
        {"max_epochs": 10},
        {"config": {"lora_r": 8, "learning_rate": 0.001}},
    ],
)
def test_trial_id_ignores_what_leaves_its_numbers_alone(change: dict[str, Any]) -> None:
    assert a_trial(**change).trial_id == a_trial().trial_id


@pytest.mark.parametrize(
    "change",
    [
        {"task_id": TaskId("u")},
        {"config": {"learning_rate": 0.001, "lora_r": 8.0}},
        {"seed": 1},
        {"base_fingerprint": "g"},
        {"space_version": "w"},
        *(
            {"settings": replace(TrainingSettings(horizon_epochs=10), **{name: value})}  # type: ignore[arg-type]
            for name, value in [
                ("horizon_epochs", 11),
                ("examples_per_epoch", 7),
                ("max_eval_examples", 7),
                ("max_length_tokens", 7),
                ("max_new_tokens", 7),
                ("max_grad_norm", 7.0),
                ("diverged_loss", 7.0),
                ("compute_dtype", "bfloat16"),
            ]
        ),
    ],
)
def test_trial_id_changes_with_whatever_changes_its_numbers(change: dict[str, Any]) -> None:
    assert a_trial(**change).trial_id != a_trial().trial_id


def test_every_setting_is_part_of_the_test_above() -> None:
    assert len(fields(TrainingSettings)) == 8


@given(st.integers(-3, 20))
def test_plan_beyond_the_horizon_is_refused(max_epochs: int) -> None:
    if 1 <= max_epochs <= 10:
        assert a_trial(max_epochs=max_epochs).max_epochs == max_epochs
    else:
        with pytest.raises(ValueError, match=f"max_epochs must be in .* got {max_epochs}"):
            a_trial(max_epochs=max_epochs)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("horizon_epochs", 0),
        ("examples_per_epoch", 0),
        ("max_grad_norm", float("nan")),
        ("diverged_loss", -1.0),
        ("compute_dtype", "float16"),
    ],
)
def test_setting_out_of_range_is_refused_by_name_and_value(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{name} must be .* got .*{value}"):
        TrainingSettings(**({"horizon_epochs": 3} | {name: value}))  # type: ignore[arg-type]


def test_metric_columns_are_columns_of_a_curve_point() -> None:
    assert set(METRIC_COLUMNS) <= {field.name for field in fields(CurvePoint)}


def test_lost_is_the_only_outcome_that_is_run_again() -> None:
    assert [outcome for outcome in Outcome if not outcome.is_final] == [Outcome.LOST]
