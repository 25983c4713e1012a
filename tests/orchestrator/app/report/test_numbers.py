"""What the report's pictures show, computed apart from drawing."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.app.report.configs import scale_of
from orchestrator.app.report.costs import pareto_front
from orchestrator.app.report.curves import BEST, FAILED, best_of_tasks, curve_kinds, with_gaps
from orchestrator.app.report.pictures import log_ticks
from orchestrator.app.report.progress import arrivals, outcome_counts
from orchestrator.app.report.ranks import critical_difference, groups, letters, ranking
from orchestrator.app.report.source import UNDER_WAY, read_source
from orchestrator.app.report.standings import config_standings, standings
from orchestrator.app.report.wording import brief, digits, seconds
from orchestrator.contracts import Config, Outcome
from surrogates.data.space import Space
from tests.orchestrator.app.report.sweeps import CONFIG, write_sweep, write_trial
from tests.surrogates.roots import a_trial

FINITE = st.floats(0.001, 1e6)


@given(st.lists(st.tuples(FINITE, FINITE), min_size=1, max_size=40))
def test_the_front_is_what_no_point_beats(points: list[tuple[float, float]]) -> None:
    cost, loss = (np.array(column) for column in zip(*points, strict=True))
    front = pareto_front(cost, loss)
    assert (np.diff(cost[front]) > 0).all()
    assert (np.diff(loss[front]) < 0).all()
    for c, value in points:
        assert any(cost[at] <= c and loss[at] <= value for at in front)
        assert not any(c < cost[at] and value < loss[at] for at in front)


def test_the_critical_difference_is_the_published_one() -> None:
    """Demšar 2006, section 3.2.2: four classifiers on 14 data sets, 2.569 · √(4 · 5 / (6 · 14))."""
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)
    assert critical_difference(1, 14) == math.inf


def test_groups_are_as_large_as_can_be_and_none_lies_within_another() -> None:
    ranks = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 6.0}
    assert groups(ranks, 1.5) == (("a", "b"), ("b", "c"), ("d",))
    assert groups(ranks, 10.0) == (("a", "b", "c", "d"),)


def test_methods_are_ranked_within_tasks_by_their_mean_over_seeds() -> None:
    rows = [
        {"method": method, "task_id": f"t{task}", "regret": regret + 0.001 * seed}
        for task in range(6)
        for seed in range(2)
        for method, regret in (("good", 0.1), ("fair", 0.2), ("bad", 0.9 if task else 0.15))
    ]
    found = ranking(pd.DataFrame(rows))
    assert list(found.ranks) == ["good", "fair", "bad"]
    assert found.ranks == pytest.approx({"good": 1.0, "fair": 13 / 6, "bad": 17 / 6})
    assert found.p < 0.05
    assert letters(found)["good"] != letters(found)["bad"]


def test_standings_are_shares_of_the_task_that_are_beaten(tmp_path: Path) -> None:
    write_sweep(tmp_path / "root", tasks=2, configs=6)
    stood = standings(read_source(tmp_path / "root", None))
    for _, rows in stood.groupby("task_id"):
        assert rows["standing"].max() == 100.0
        assert (
            rows.loc[rows["is_failure"], "standing"].max() < rows.loc[~rows["is_failure"], "standing"].min()
        )
    configs = config_standings(stood)
    assert configs["tasks"].tolist() == [2] * 7
    assert configs["mean"].is_monotonic_decreasing


def test_outcomes_are_counted_by_task_with_those_under_way(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write_sweep(root, tasks=2, configs=4)
    write_trial(root, a_trial(0, CONFIG), points=1, outcome=None)
    counts = outcome_counts(read_source(root, None))
    assert counts.loc["task 0"].to_dict() == {"completed": 3, "diverged": 1, "failed": 1, UNDER_WAY: 1}
    assert counts.loc["task 1", UNDER_WAY] == 0


def test_arrivals_count_every_trial_and_point_once(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write_sweep(root, tasks=2, configs=4)
    source = read_source(root, None)
    assert arrivals(source) is None  # all ended in the same second
    times = pd.date_range("2026-11-21T12:00:00", periods=len(source.trials), freq="7s").strftime(
        "%Y-%m-%dT%H:%M:%S"
    )
    source.trials["finished_at"] = [f"{at}+00:00" for at in times]
    told = arrivals(source)
    assert told is not None
    assert told.trials[-1] == len(source.trials)
    came = sum(told.points_per_minute) * told.interval_s / 60
    assert came == pytest.approx(source.trials["epochs"].sum())


def test_a_failed_trial_is_never_the_best_however_low_its_points(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write_sweep(root, tasks=1, configs=4)
    trial = a_trial(0, CONFIG)
    write_trial(root, trial, points=3, outcome=Outcome.DIVERGED)
    source = read_source(root, None)
    (best,) = best_of_tasks(source)
    kinds = curve_kinds(source, "task-0", best)
    assert kinds[trial.trial_id] == FAILED
    assert (kinds == BEST).sum() == 1
    assert kinds[best.trial_id] == BEST


def test_curves_drawn_as_one_line_have_a_gap_after_each() -> None:
    points = pd.DataFrame(
        {"trial_id": ["a", "a", "b"], "epoch": [1, 2, 1], "value": [3.0, 2.0, 5.0], "loss": [0, 0, 0]}
    )
    drawn = with_gaps(points, ["epoch", "value"])
    assert drawn["trial_id"].tolist() == ["a", "a", "a", "b", "b"]
    assert np.isnan(drawn["value"].to_numpy()).tolist() == [False, False, True, False, True]


def test_scales_place_values_and_put_inactive_ones_below() -> None:
    space = Space(
        {
            "lr": {"min": 1e-4, "max": 1e-1, "log": True},
            "optim": ["adam", "sgd"],
            "momentum": {"min": 0.0, "max": 1.0, "when": {"optim": ["sgd"]}},
        }
    )
    by_name = {parameter.name: parameter for parameter in space.parameters}
    configs: list[Config] = [{"lr": 1e-3, "optim": "adam"}, {"lr": 1e-1, "optim": "sgd", "momentum": 0.5}]
    assert scale_of(by_name["lr"], configs).values.tolist() == [-3.0, -1.0]
    assert scale_of(by_name["optim"], configs).values.tolist() == [0.0, 1.0]
    momentum = scale_of(by_name["momentum"], configs)
    assert momentum.values[0] == momentum.low < 0.0 < momentum.values[1]
    assert momentum.ticks[0] == (momentum.low, "–")


@given(st.floats(1e-9, 1e9), st.floats(1.1, 1e9))
def test_ticks_of_a_logarithmic_axis_enclose_what_is_shown(low: float, factor: float) -> None:
    ticks = log_ticks(low, low * factor)
    assert ticks == sorted(ticks)
    assert ticks[0] <= low * 1.0000001
    assert ticks[-1] >= low * factor * 0.9999999


def test_numbers_have_few_digits_and_units() -> None:
    assert [digits(x) for x in (0.0, 0.012345, 3.14159, 1234.5, 1e-9, math.nan)] == [
        "0",
        "0.0123",
        "3.14",
        "1,234",
        "1.00e-09",
        "–",
    ]
    assert (seconds(4.25), seconds(125.0)) == ("4.2 s", "2 min 05 s")
    assert brief({"a": 0.5, "b": 1}, {"a": 0.5, "b": 2}) == "b=1"
    assert brief({"a": 0.5}, {"a": 0.5}) == "the default"
