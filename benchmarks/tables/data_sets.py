"""Small data sets to train on, scikit-learn's own and generated ones, and the meta-features of them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn import datasets
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

Array = NDArray[np.float64]

_SHARES = (0.6, 0.2, 0.2)
"""Of the rows, to train, validate and test."""
_LANDMARK_ROWS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Rows of a data set."""

    inputs: Array
    """Shape ``(n, d)``, in standard deviations of the training rows."""
    targets: Array
    """Class numbers from 0, or standardised values; shape ``(n,)``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """A task: rows to train, validate and test on."""

    name: str
    classes: int
    """0 for a regression."""
    train: Split
    valid: Split
    test: Split


def _digits(kept: tuple[int, ...] = tuple(range(10)), rows: int = 1797) -> tuple[Array, Array]:
    inputs, targets = datasets.load_digits(return_X_y=True)
    chosen = np.flatnonzero(np.isin(targets, kept))[:rows]
    return inputs[chosen], np.searchsorted(np.array(kept), targets[chosen]).astype(float)


def _parity() -> tuple[Array, Array]:
    inputs, targets = _digits()
    return inputs, targets % 2


def _classes(seed: int, **options: float) -> tuple[Array, Array]:
    inputs, targets = datasets.make_classification(random_state=seed, **options)
    return inputs, targets.astype(float)


_MAKERS: dict[str, tuple[bool, Callable[[], tuple[Array, Array]]]] = {
    "iris": (True, lambda: datasets.load_iris(return_X_y=True)),
    "digits": (True, _digits),
    "friedman1": (False, lambda: datasets.make_friedman1(800, 10, noise=1.0, random_state=1)),
    "moons": (True, lambda: datasets.make_moons(600, noise=0.25, random_state=2)),
    "breast_cancer": (True, lambda: datasets.load_breast_cancer(return_X_y=True)),
    "wide": (True, lambda: _classes(3, n_samples=300, n_features=100, n_informative=10)),
    "diabetes": (False, lambda: datasets.load_diabetes(return_X_y=True)),
    "many_classes": (
        True,
        lambda: _classes(4, n_samples=1200, n_features=20, n_informative=12, n_classes=10, class_sep=1.5),
    ),
    "wine": (True, lambda: datasets.load_wine(return_X_y=True)),
    "digits_parity": (True, _parity),
    "regression_noisy": (False, lambda: datasets.make_regression(500, 30, noise=80.0, random_state=5)),
    "noisy_labels": (True, lambda: _classes(6, n_samples=900, n_features=15, flip_y=0.3)),
    "circles": (True, lambda: datasets.make_circles(500, noise=0.15, factor=0.5, random_state=7)),
    "digits_low": (True, lambda: _digits((0, 1, 2, 3, 4))),
    "friedman2": (False, lambda: datasets.make_friedman2(600, noise=60.0, random_state=8)),
    "gaussian_shells": (
        True,
        lambda: datasets.make_gaussian_quantiles(n_samples=900, n_features=5, n_classes=4, random_state=9),
    ),
    "digits_few_rows": (True, lambda: _digits(rows=200)),
    "hastie": (True, lambda: datasets.make_hastie_10_2(1200, random_state=10)),
    "friedman3": (False, lambda: datasets.make_friedman3(400, noise=0.1, random_state=11)),
    "easy": (True, lambda: _classes(12, n_samples=1500, n_features=8, class_sep=2.0)),
    "regression_clean": (False, lambda: datasets.make_regression(900, 12, noise=1.0, random_state=13)),
    "redundant": (
        True,
        lambda: _classes(14, n_samples=700, n_features=40, n_informative=4, n_redundant=30),
    ),
    "digits_alike": (True, lambda: _digits((3, 5, 8, 9))),
    "sparse_uncorrelated": (
        False,
        lambda: datasets.make_sparse_uncorrelated(700, 20, random_state=15),
    ),
}
NAMES = tuple(_MAKERS)
"""Of all data sets; kinds and sizes alternate, so that the first few are already unlike."""


def load(name: str) -> DataSet:
    """Make a data set; the same name gives the same rows.

    Args:
        name: One of ``NAMES``.

    Returns:
        The data set, shuffled, split and standardised.
    """
    is_classification, make = _MAKERS[name]
    inputs, targets = make()
    targets = np.asarray(targets, dtype=np.float64)
    if is_classification:
        targets = np.searchsorted(np.unique(targets), targets).astype(np.float64)
    order = np.random.default_rng(NAMES.index(name)).permutation(len(inputs))
    ends = np.cumsum([int(share * len(order)) for share in _SHARES[:2]])
    parts = np.split(order, ends)
    inputs = _standardised(np.asarray(inputs, dtype=np.float64), parts[0])
    if not is_classification:
        targets = _standardised(targets[:, None], parts[0])[:, 0]
    train, valid, test = (Split(inputs=inputs[part], targets=targets[part]) for part in parts)
    classes = len(np.unique(targets)) if is_classification else 0
    return DataSet(name=name, classes=classes, train=train, valid=valid, test=test)


def meta_features(data: DataSet) -> dict[str, float]:
    """Return what is known of a data set before anything is tuned on it.

    Args:
        data: The data set; only its training rows are looked at.

    Returns:
        Logarithms of rows, inputs and classes (0 for a regression), entropy of the classes in nats, mean
        absolute correlation between inputs, and the share of the trivial prediction's error that a nearest
        neighbour and a linear model leave on a third of the training rows.
    """
    rows, width = data.train.inputs.shape
    counts = np.bincount(data.train.targets.astype(int)) if data.classes else np.ones(1)
    shares = counts[counts > 0] / counts.sum()
    return {
        "log_rows": float(np.log(rows)),
        "log_inputs": float(np.log(width)),
        "log_classes": float(np.log(data.classes)) if data.classes else 0.0,
        "is_regression": float(data.classes == 0),
        "class_entropy": float(-(shares * np.log(shares)).sum()),
        "correlation": _mean_correlation(data.train.inputs),
        **_landmarks(data),
    }


def _standardised(values: Array, fitted_on: NDArray[np.int64]) -> Array:
    deviations = values[fitted_on].std(axis=0)
    return np.asarray((values - values[fitted_on].mean(axis=0)) / np.where(deviations > 0, deviations, 1.0))


def _mean_correlation(inputs: Array) -> float:
    varying = inputs[:, inputs.std(axis=0) > 0]
    correlations = np.abs(np.corrcoef(varying, rowvar=False))
    return float(correlations[~np.eye(len(correlations), dtype=bool)].mean())


def _landmarks(data: DataSet) -> dict[str, float]:
    inputs, targets = data.train.inputs[:_LANDMARK_ROWS], data.train.targets[:_LANDMARK_ROWS]
    third = len(inputs) // 3
    fitted, held = slice(third, None), slice(0, third)
    if data.classes:
        models = {"neighbour": KNeighborsClassifier(1), "linear": LogisticRegression(max_iter=1000)}
        most_common = np.bincount(targets[fitted].astype(int)).argmax()
        trivial = float((targets[held] != most_common).mean())
    else:
        models = {"neighbour": KNeighborsRegressor(1), "linear": Ridge()}
        trivial = float(np.square(targets[held] - targets[fitted].mean()).mean())
    landmarks = {}
    for name, model in models.items():
        predicted = model.fit(inputs[fitted], targets[fitted]).predict(inputs[held])
        wrong = predicted != targets[held] if data.classes else np.square(predicted - targets[held])
        landmarks[f"{name}_error"] = float(wrong.mean() / max(trivial, 1e-9))
    return landmarks
