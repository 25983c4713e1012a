"""A table of gradient-boosted trees: LightGBM's, with rounds as the fidelity, on small data sets."""

import time
from collections.abc import Iterator
from typing import Any

import lightgbm as lgb
import numpy as np

from benchmarks.tables.data_sets import DataSet, Split
from benchmarks.tables.table import Epoch, number
from orchestrator.contracts import Config

SPACE: dict[str, Any] = {
    "learning_rate": {"min": 0.01, "max": 1.0, "log": True, "default": 0.1},
    "num_leaves": {"min": 2, "max": 64, "log": True, "integer": True, "default": 31},
    "min_child_samples": {"min": 1, "max": 100, "log": True, "integer": True, "default": 20},
    "lambda_l2": {"min": 1e-4, "max": 100.0, "log": True, "default": 1e-3},
    "feature_fraction": {"min": 0.2, "max": 1.0, "default": 1.0},
    "bagging": [False, True],
    "bagging_fraction": {"min": 0.2, "max": 0.95, "default": 0.8, "when": {"bagging": [True]}},
    "extra_trees": [False, True],
    "max_bin": [15, 63, 255],
}
ROUNDS_AN_EPOCH = 5

_VISITS_PER_S = 1e8
"""Modelled: rows times inputs looked at a second."""
_ROUND_S = 2e-5


def train(data: DataSet, config: Config, *, epochs: int, seed: int) -> Iterator[Epoch]:
    """Boost trees.

    Args:
        data: What to train on.
        config: Of ``SPACE``.
        epochs: Reports, every ``ROUNDS_AN_EPOCH`` rounds.
        seed: Of the draws of rows and inputs; the same gives the same losses.

    Yields:
        Each epoch.
    """
    train_rows = _rows(data.train, config)
    booster = lgb.Booster(_parameters(data, config, seed), train_rows)
    for name, rows in (("valid", data.valid), ("test", data.test)):
        booster.add_valid(_rows(rows, config, train_rows), name)
    loss, error = _metrics(data.classes)
    variance = float(np.var(data.test.targets))
    for _ in range(epochs):
        begun = time.perf_counter()
        for _ in range(ROUNDS_AN_EPOCH):
            booster.update()
        measured = {(held, metric): value for held, metric, value, _ in booster.eval_valid()}
        seconds = time.perf_counter() - begun
        test_loss = measured["test", loss]
        yield Epoch(
            valid_loss=measured["valid", loss],
            test_loss=test_loss,
            test_error=measured["test", error] if data.classes else test_loss / variance,
            seconds=seconds,
            modelled_s=_modelled_s(data, config),
        )


def _metrics(classes: int) -> tuple[str, str]:
    """Return LightGBM's names of loss and error."""
    if not classes:
        return "l2", "l2"
    return ("binary_logloss", "binary_error") if classes == 2 else ("multi_logloss", "multi_error")


def _parameters(data: DataSet, config: Config, seed: int) -> dict[str, Any]:
    objective = {0: "regression", 2: "binary"}.get(data.classes, "multiclass")
    chosen = {name: value for name, value in config.items() if name not in ("bagging", "max_bin")}
    return {
        **chosen,
        "objective": objective,
        "metric": sorted(set(_metrics(data.classes))),
        "num_class": data.classes if objective == "multiclass" else 1,
        "bagging_freq": 1 if config["bagging"] else 0,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }


def _rows(rows: Split, config: Config, reference: lgb.Dataset | None = None) -> lgb.Dataset:
    options = {"max_bin": config["max_bin"], "min_data_in_bin": 1, "feature_pre_filter": False}
    options |= {"num_threads": 1, "verbosity": -1}
    return lgb.Dataset(rows.inputs, rows.targets, reference=reference, params=options)


def _modelled_s(data: DataSet, config: Config) -> float:
    rows, inputs = data.train.inputs.shape
    rows_seen = rows * number(config, "bagging_fraction", 1.0)
    inputs_seen = max(inputs * number(config, "feature_fraction"), 1.0)
    depth = float(np.log2(number(config, "num_leaves"))) + 1.0
    round_s = rows_seen * inputs_seen * depth / _VISITS_PER_S + number(config, "num_leaves") * _ROUND_S
    trees = data.classes if data.classes > 2 else 1
    return float(ROUNDS_AN_EPOCH * trees * round_s)
