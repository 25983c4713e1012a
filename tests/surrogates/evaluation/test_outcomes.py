from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from surrogates.evaluation.outcomes import losses_over_time, measure_outcomes, summarise_outcomes

REPORTS = ("test_loss", "test_token_f1")
UNITS_S = {"t": 2.0, "u": 4.0}
UNTRAINED = {"t": 4.0, "u": 2.0}


def _rows(method: str, task: str, curve: Sequence[tuple[float, float, float]]) -> pd.DataFrame:
    """Seconds, the method's own, and the test loss of an incumbent."""
    rows: list[dict[str, Any]] = [
        {
            "method": method,
            "task_id": task,
            "seed": 0,
            "budget": 3.0,
            "step": number,
            "candidate": f"c{number}" if number else None,
            "epoch": 1,
            "train_s": train_s,
            "own_s": own_s,
            "loss": loss - 0.5,
            "test_loss": loss,
            "test_token_f1": 1.0 / loss,
        }
        for number, (train_s, own_s, loss) in enumerate(curve)
    ]
    return pd.DataFrame(rows)


ROWS = pd.concat(
    [
        _rows("transfer-only", "t", [(0, 0, 4.0), (1, 0.1, 2.0), (3, 0.1, 1.0)]),
        _rows("transfer-only", "u", [(0, 0, 2.0), (4, 0.1, 1.0)]),
        _rows("zero-shot", "t", [(0, 0, 4.0)]),
        _rows("zero-shot", "u", [(0, 0, 2.0)]),
    ]
)


def _measured(*, own_time: bool) -> pd.DataFrame:
    return measure_outcomes(ROWS, UNITS_S, UNTRAINED, (1.0, 3.0), reports=REPORTS, own_time=own_time)


def test_a_budget_is_read_at_its_end_against_the_base_model() -> None:
    measured = _measured(own_time=False).set_index(["method", "task_id", "budget"])
    assert measured.loc[("transfer-only", "t", 1.0), "relative"] == 0.5
    assert measured.loc[("transfer-only", "t", 3.0), "test_token_f1"] == 1.0
    assert measured.loc[("transfer-only", "u", 1.0), "relative"] == 0.5
    plain = measured.reset_index()
    zero_shot = plain[plain["method"] == "zero-shot"]
    assert zero_shot["relative"].tolist() == [1.0] * 4
    assert zero_shot["configs"].tolist() == [0] * 4
    assert plain.loc[plain["method"] == "transfer-only", "rank"].tolist() == [1.0] * 4


def test_a_methods_own_seconds_may_take_its_last_epoch_beyond_the_budget() -> None:
    measured = _measured(own_time=True).set_index(["method", "task_id", "budget"])
    assert measured.loc[("transfer-only", "u", 1.0), "relative"] == 1.0
    assert measured.loc[("zero-shot", "u", 1.0), "rank"] == 1.5


def test_methods_are_summed_up_best_first_and_compared_with_ours() -> None:
    ours, other = summarise_outcomes(_measured(own_time=False), REPORTS)
    assert (ours.name, other.name) == ("transfer-only", "zero-shot")
    assert ours.at[1].relative.mean == pytest.approx((0.25 + 0.5) / 2)
    assert ours.at[1].tests == {"test_loss": 1.0, "test_token_f1": 1.0}
    assert ours.at[0].against is None
    assert other.at[0].against is not None
    assert (other.at[0].against.wins, other.at[0].against.n) == (2, 2)


def test_the_test_loss_over_time_is_a_mean_over_tasks_on_a_shared_grid() -> None:
    lines = losses_over_time(ROWS, UNITS_S, 3.0, np.array([0.25, 1.0, 3.0]), own_time=False)
    ours = lines[lines["method"] == "transfer-only"]
    assert ours["value"].tolist() == [3.0, 1.5, 1.0]
