"""A table of multilayer perceptrons: scikit-learn's, trained epoch by epoch on small data sets."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import sklearn
from sklearn.neural_network import MLPClassifier, MLPRegressor

from benchmarks.tables.data_sets import DataSet, Split
from benchmarks.tables.table import Epoch, judged_chances, judged_values, number
from orchestrator.contracts import Config

SPACE: dict[str, Any] = {
    "solver": ["adam", "sgd"],
    "learning_rate": {"min": 1e-4, "max": 1.0, "log": True, "default": 1e-3},
    "momentum": {"min": 0.0, "max": 0.99, "default": 0.9, "when": {"solver": ["sgd"]}},
    "width": {"min": 4, "max": 128, "log": True, "integer": True, "default": 64},
    "depth": [1, 2, 3],
    "alpha": {"min": 1e-6, "max": 1.0, "log": True, "default": 1e-4},
    "batch_size": {"min": 16, "max": 256, "log": True, "integer": True, "default": 64},
    "activation": ["relu", "tanh", "logistic"],
}
"""Divergence happens: the highest learning rates are too high for most regressions."""

_DIVERGED_LOSS = 20.0
"""Ten times what a model says before it has learned anything."""
_UNCHECKED = {"assume_finite": True, "skip_parameter_validation": True}
"""scikit-learn's checks of its input take longer than an epoch here."""
_MULTIPLY_ADDS_PER_S = 1e9
_STEP_S = 3e-4
"""Modelled time of a step apart from its multiply-adds."""


def train(data: DataSet, config: Config, *, epochs: int, seed: int) -> Iterator[Epoch]:
    """Train a perceptron.

    Args:
        data: What to train on.
        config: Of ``SPACE``.
        epochs: Passes over the training rows.
        seed: Of the weights and the order of rows; the same gives the same losses.

    Yields:
        Each epoch; the last is the one that diverged, if one did.
    """
    model = _model(data, config, seed)
    first_call: Mapping[str, Any] = {"classes": np.arange(data.classes)} if data.classes else {}
    modelled_s = _modelled_s(data, config)
    for _ in range(epochs):
        begun = time.perf_counter()
        try:
            with np.errstate(all="ignore"), sklearn.config_context(**_UNCHECKED):
                model.partial_fit(data.train.inputs, data.train.targets, **first_call)
                valid_loss, _ = _judge(model, data, data.valid)
        except ValueError as err:
            if "finite" not in str(err) and "NaN" not in str(err):
                raise
            valid_loss = np.nan
        seconds = time.perf_counter() - begun
        if not valid_loss < _DIVERGED_LOSS:
            nothing = dict.fromkeys(("valid_loss", "test_loss", "test_error"), np.nan)
            yield Epoch(**nothing, seconds=seconds, modelled_s=modelled_s)
            return
        with sklearn.config_context(**_UNCHECKED):
            test_loss, test_error = _judge(model, data, data.test)
        yield Epoch(
            valid_loss=valid_loss,
            test_loss=test_loss,
            test_error=test_error,
            seconds=seconds,
            modelled_s=modelled_s,
        )
        first_call = {}


def _model(data: DataSet, config: Config, seed: int) -> MLPClassifier | MLPRegressor:
    kind = MLPClassifier if data.classes else MLPRegressor
    return kind(
        hidden_layer_sizes=(int(number(config, "width")),) * int(number(config, "depth")),
        activation=config["activation"],
        solver=config["solver"],
        alpha=config["alpha"],
        batch_size=min(int(number(config, "batch_size")), len(data.train.inputs)),
        learning_rate_init=config["learning_rate"],
        momentum=number(config, "momentum"),
        # A generator, not a number: with a number, every epoch would go through the rows in the same order.
        random_state=np.random.RandomState(seed),
    )


def _judge(model: MLPClassifier | MLPRegressor, data: DataSet, rows: Split) -> tuple[float, float]:
    """Return loss and error."""
    if data.classes:
        return judged_chances(model.predict_proba(rows.inputs), rows.targets)
    return judged_values(model.predict(rows.inputs), rows.targets)


def _modelled_s(data: DataSet, config: Config) -> float:
    width, depth = number(config, "width"), number(config, "depth")
    rows, inputs = data.train.inputs.shape
    weights = inputs * width + (depth - 1) * width**2 + width * max(data.classes, 1)
    steps = -(-rows // number(config, "batch_size"))
    return float(3 * rows * weights / _MULTIPLY_ADDS_PER_S + steps * _STEP_S)
