import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.contracts import AttemptRecord, TrainingSettings, Trial
from orchestrator.metadataset.rows import attempt_row, canonical, curve_row, task_row, trial_of, trial_row
from orchestrator.metadataset.schema import Table
from orchestrator.metadataset.tail import arrow_table
from tests.orchestrator.metadataset.records import a_point, a_result, a_task, a_trial

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
configs = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), scalars, max_size=6)


@given(configs, st.integers(0, 2**63 - 1), st.integers(1, 9), st.sampled_from(["float32", "bfloat16"]))
def test_trial_survives_its_row_with_both_ids(
    config: dict[str, bool | int | float | str | None], seed: int, epochs: int, dtype: str
) -> None:
    settings = TrainingSettings(horizon_epochs=9, compute_dtype=dtype, max_grad_norm=0.1 + epochs)
    trial = Trial(
        task_id=a_trial().task_id,
        task_source="a path/with spaces",
        task_name="name",
        config=config,
        seed=seed,
        base_model="b",
        base_fingerprint="f",
        space_version="v",
        settings=settings,
        max_epochs=epochs,
    )
    row = dict(zip(Table.TRIALS.columns, trial_row(a_result(trial)), strict=True))
    again = trial_of(row)
    assert again == trial
    assert (again.trial_id, again.config_id) == (row["trial_id"], row["config_id"])


@given(st.text(st.characters()))
def test_any_text_of_a_traceback_can_be_logged_and_tabled(detail: str) -> None:
    record = AttemptRecord(
        trial_id=a_trial().trial_id, attempt=0, event="lost", worker="w", detail=detail, at="now"
    )
    row = attempt_row(record)
    assert json.loads(json.dumps(row)) == list(row)
    (back,) = arrow_table(Table.ATTEMPTS, [row]).column("detail").to_pylist()
    assert back == detail.encode("utf-8", "backslashreplace").decode()


def test_count_beyond_64_bits_is_refused_before_it_is_logged() -> None:
    with pytest.raises(ValueError, match="must fit 64 bits, got 9223372036854775808"):
        curve_row(a_point(a_trial(), 1, tokens=2**63))


def test_meta_feature_that_is_no_number_becomes_null_and_an_infinite_one_is_refused() -> None:
    record = a_task()
    assert isinstance(record.meta_features, dict)
    record.meta_features["answer_tokens"] = math.nan
    row = dict(zip(Table.TASKS.columns, task_row(record), strict=True))
    assert json.loads(str(row["meta_features"])) == {"answer_tokens": None, "zero_shot_loss": 3.25}
    record.meta_features["answer_tokens"] = math.inf
    with pytest.raises(ValueError, match="meta-feature answer_tokens must be a number or NaN, got inf"):
        task_row(record)


@given(configs)
def test_canonical_text_forgets_the_order_of_keys_and_nothing_else(
    config: dict[str, bool | int | float | str | None],
) -> None:
    backwards = dict(reversed(config.items()))
    assert canonical(backwards) == canonical(config)
    assert repr(sorted(json.loads(canonical(config)).items())) == repr(sorted(config.items()))
