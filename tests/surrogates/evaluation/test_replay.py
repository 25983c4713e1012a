from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from surrogates.evaluation.replay import (
    MOST_REGRET,
    Chooser,
    Fitted,
    Replay,
    average_rank_chooser,
    default_chooser,
    leave_one_task_out,
    normalised_regret,
    plan_chooser,
    random_chooser,
)
from surrogates.metadataset import MetaDataset
from tests.surrogates.synthetic import World, make


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.floats(0, 1e3), st.floats(0, 1e3))
def test_regret_is_zero_at_the_best_one_at_the_median_and_never_falls_with_the_loss(
    best: float, gap: float, a: float, b: float
) -> None:
    assert normalised_regret(best, best, gap) == 0.0
    assert normalised_regret(float("inf"), best, gap) == MOST_REGRET
    low, high = sorted((a, b))
    assert normalised_regret(best + low, best, gap) <= normalised_regret(best + high, best, gap)


def _table() -> MetaDataset:
    losses = {"a": [4.0, 1.0], "b": [2.0, 3.0], "c": [5.0, np.nan], "d": [6.0, 6.0]}
    rows = [
        {"task_id": task, "config_id": name, "epoch": epoch + 1, "loss": loss, "s": 1.0}
        for task in ("t", "u")
        for name, curve in losses.items()
        for epoch, loss in enumerate(curve)
    ]
    configs = pd.DataFrame({"config_id": list(losses), "x": [1, 2, 3, 4]})
    tasks = pd.DataFrame({"task_id": ["t", "u"]})
    return MetaDataset.from_frames(
        pd.DataFrame(rows),
        configs,
        tasks,
        space={"x": [1, 2, 3, 4]},
        metric="loss",
        direction="minimise",
        cost="s",
    )


@pytest.mark.parametrize(
    ("chosen", "budget_s", "losses"),
    [
        ([("a", 2)], 2.0, [1.0]),
        ([("a", 2)], 1.5, [4.0]),
        ([("a", 2)], 0.5, []),
        ([("a", 1), ("b", 2)], 3.0, [4.0, 2.0]),
        ([("c", 2), ("b", 2)], 3.0, [np.inf, 2.0]),
        ([("d", 2), ("a", 2)], 2.0, [6.0]),
    ],
)
def test_replay_runs_on_the_recorded_clock(
    chosen: list[tuple[str, int]], budget_s: float, losses: list[float]
) -> None:
    meta = _table()
    assert Replay(meta, meta.tasks[0]).run(chosen, budget_s) == losses


def test_average_rank_puts_first_what_ranked_best_elsewhere_and_a_failure_last() -> None:
    meta = _table()
    target = Replay(meta, meta.tasks[0]).target(1.0)
    ranked = [name for name, _ in average_rank_chooser(meta.without(["t"]), target)]
    assert ranked == ["a", "b", "d", "c"]


def _regret(meta: MetaDataset, chooser: Chooser, most: int) -> float:
    return float(leave_one_task_out(meta, chooser, [20.0], most=most)["regret"].mean())


SEEDS = (0, 1)


def test_plan_beats_random_default_and_average_rank_where_features_tell() -> None:
    metas = [make(World(tasks=12, configs=30, epochs=3, seed=seed)) for seed in SEEDS]
    fits: list[Fitted] = [{} for _ in metas]
    for k in (1, 3):
        ours = np.mean(
            [_regret(meta, plan_chooser(k=k, fitted=fit), k) for meta, fit in zip(metas, fits, strict=True)]
        )
        chance = np.mean([_regret(meta, random_chooser(seed=s), k) for meta in metas for s in range(3)])
        ranked = np.mean([_regret(meta, average_rank_chooser, k) for meta in metas])
        default = np.mean([_regret(meta, default_chooser, k) for meta in metas])
        assert ours < 0.5 * chance
        assert ours < default
        assert ours < ranked


def test_plan_is_not_worse_than_average_rank_where_features_say_nothing() -> None:
    unlike = World(tasks=8, configs=30, epochs=3, informative=False, strength=0.3)
    metas = [make(replace(unlike, seed=seed)) for seed in SEEDS]
    ours = np.mean([_regret(meta, plan_chooser(k=2), 2) for meta in metas])
    ranked = np.mean([_regret(meta, average_rank_chooser, 2) for meta in metas])
    chance = np.mean([_regret(meta, random_chooser(seed=s), 2) for meta in metas for s in range(5)])
    assert ours <= ranked + 0.03
    assert ours < 0.5 * chance


def test_more_budget_never_hurts_a_fixed_order() -> None:
    meta = make(World(tasks=4, configs=20, epochs=4))
    results = leave_one_task_out(meta, random_chooser(seed=0), [0.5, 1.0, 2.0, 4.0])
    for _, rows in results.groupby("task_id"):
        assert rows.sort_values("budget")["regret"].is_monotonic_decreasing
