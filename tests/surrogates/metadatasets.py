"""Meta-datasets of every kind that a table may hold, drawn by hypothesis; and whether two are the same."""

import math
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from orchestrator.contracts import Config, Outcome, config_id
from surrogates.data.description import Description
from surrogates.data.normalisation import Direction
from surrogates.data.space import Space
from surrogates.data.tables import FAILURES, PastTask
from surrogates.data.workload import Workload
from surrogates.metadataset import MetaDataset

DECLARED: dict[str, Any] = {
    "lr": {"min": 1e-5, "max": 1e-1, "log": True},
    "dropout": {"min": 0.0, "max": 0.5},
    "layers": {"min": 1, "max": 9, "integer": True},
    "width": {"min": 1, "max": 512, "integer": True, "log": True},
    "rank": [4, 8, 16],
    "scale": [1, 2.5, 4],
    "optim": ["adamw", "lion", "sgd"],
    "nesterov": {"values": [False, True], "when": {"optim": ["sgd"]}},
    "momentum": {"min": 0.0, "max": 0.99, "when": {"optim": ["sgd", "lion"]}},
    "rslora": [False, True],
    "schedule": [None, "cosine", 3, True],
    "text": ["True", "8", 'naïve, "quoted"', "x"],
    "version": 3,
    "name": "phi",
}
_COSTS = st.floats(0.0, 1e4)
_FEATURES = st.dictionaries(
    st.sampled_from(["size", "words", "level"]), st.floats(-1e6, 1e6) | st.just(math.nan), max_size=3
)


@st.composite
def metadatasets(draw: st.DrawFn, *, low: float = -1e3, high: float = 1e3) -> MetaDataset:
    """A meta-dataset of one to three tasks; values lie within the bounds, but for those of failures."""
    names = draw(st.sets(st.sampled_from(sorted(DECLARED)), min_size=1, max_size=6))
    if names & {"nesterov", "momentum"}:
        names.add("optim")
    space = Space({name: DECLARED[name] for name in sorted(names)})
    drawn = space.sample(draw(st.integers(1, 4)), seed=draw(st.integers(0, 99)))
    configs: dict[str, Config] = {config_id(config): config for config in drawn}
    keys = [f"t{number}" for number in range(draw(st.integers(1, 3)))]
    report = draw(st.booleans())
    trials: list[tuple[object, ...]] = []
    points: list[tuple[object, ...]] = []
    for task_id in keys:
        chosen = draw(st.lists(st.sampled_from(sorted(configs)), min_size=1, unique=True))
        for key in chosen:
            for seed in draw(st.sets(st.integers(0, 5), min_size=1, max_size=2)):
                trial_id = f"trial-{len(trials)}"
                outcome = draw(st.sampled_from([Outcome.COMPLETED, Outcome.STOPPED, *sorted(FAILURES)]))
                failed = outcome in FAILURES
                values = draw(st.lists(st.floats(low, high), min_size=0 if failed else 1, max_size=4))
                if failed and draw(st.booleans()):
                    values.append(math.nan)
                trials.append((trial_id, task_id, key, seed, outcome.value, failed, draw(_COSTS)))
                points += [
                    (trial_id, epoch, value, draw(_COSTS), draw(st.floats(0.0, 1.0)))
                    for epoch, value in enumerate(values, start=1)
                ]
    reports = ("accuracy",) if report else ()
    frame = pd.DataFrame(points, columns=["trial_id", "epoch", "value", "cost_s", "accuracy"]).astype(
        {"trial_id": "str", "epoch": "int64", "value": float, "cost_s": float, "accuracy": float}
    )
    described = Description(
        metric="loss",
        direction=draw(st.sampled_from(Direction)),
        reports=reports,
        base_fingerprints=tuple(draw(st.sets(st.sampled_from(["base-1", "base-2"])))),
        learned_features=draw(st.sampled_from([None, ("size",), ()])),
        machine_features=draw(st.sampled_from([(), ("level",)])),
        workload=draw(
            st.sampled_from([None, Workload(amounts=(("size",), ("level", "hint")), speed="level")])
        ),
    )
    return described.meta(
        points=frame[["trial_id", "epoch", "value", "cost_s", *reports]],
        trials=pd.DataFrame(
            trials, columns=["trial_id", "task_id", "config_id", "seed", "outcome", "is_failure", "cost_s"]
        ),
        configs=configs,
        tasks=[PastTask(task_id=key, name=f"task {key}", features=draw(_FEATURES)) for key in keys],
        space=space,
    )


def assert_same(left: MetaDataset, right: MetaDataset, *, tolerance: float = 0.0, costs: bool = True) -> None:
    """Fail unless two meta-datasets are the same, types included.

    Args:
        left: One.
        right: The other.
        tolerance: Relative difference allowed between numbers of points.
        costs: Whether the seconds of every epoch must be the same, or only their sum over a trial.
    """
    assert left.space.to_json() == right.space.to_json()
    assert Description.of(left) == Description.of(right)
    assert left.max_epochs == right.max_epochs
    assert typed(left.configs) == typed(right.configs)
    assert repr([(t.task_id, t.name, sorted(t.features.items())) for t in left.tasks]) == repr(
        [(t.task_id, t.name, sorted(t.features.items())) for t in right.tasks]
    )
    pd.testing.assert_frame_equal(left.trials, right.trials, check_like=True, check_exact=True)
    columns = [name for name in left.points.columns if costs or name != "cost_s"]
    assert sorted(left.points.columns) == sorted(right.points.columns)
    pd.testing.assert_frame_equal(
        left.points[columns],
        right.points[columns],
        check_exact=tolerance == 0,
        rtol=tolerance,
        atol=tolerance,
    )
    sums = [meta.points.groupby("trial_id")["cost_s"].sum() for meta in (left, right)]
    np.testing.assert_allclose(sums[0], sums[1], rtol=1e-9)


def typed(configs: Any) -> dict[str, dict[str, tuple[type, Any]]]:
    """Configs with the type beside every value, since True == 1 == 1.0."""
    return {
        key: {name: (type(value), value) for name, value in config.items()} for key, config in configs.items()
    }
