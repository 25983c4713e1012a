"""LightGBM, held still: one thread, fixed seeds and layout."""

from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray

from surrogates.data.normalisation import Array
from surrogates.models.leaves import LeafTable

ROUNDS = (15, 30, 60, 120)
"""Numbers of boosting rounds that are compared on the tasks left out."""
_FEWEST_IN_LEAF = 2


class Booster:
    """A fitted ensemble of trees.

    Args:
        inputs: Shape ``(n, d)``, NaN where missing.
        targets: Shape ``(n,)``.
        objective: LightGBM's name: ``regression`` or ``binary``.
        rounds: Trees.
        seed: The same seed and data give the same trees.
    """

    def __init__(
        self, inputs: Array, targets: Array, *, objective: str = "regression", rounds: int, seed: int
    ) -> None:
        least = max(_FEWEST_IN_LEAF, min(20, len(inputs) // 50))
        parameters = tree_parameters(objective, least_in_leaf=least, seed=seed)
        data = lightgbm.Dataset(inputs, targets, params=parameters)
        self._booster = lightgbm.train(parameters, data, num_boost_round=rounds)

    def predict(self, inputs: Array, rounds: int | None = None) -> Array:
        """Predict, with the first so many trees.

        Args:
            inputs: Shape ``(n, d)``.
            rounds: Trees to use; None: all.

        Returns:
            Shape ``(n,)``: values, or probabilities where the objective is ``binary``.
        """
        if len(inputs) == 0:
            return np.zeros(0)
        predicted: Array = self._booster.predict(inputs, num_iteration=rounds or -1, num_threads=1)
        return predicted

    def leaf_table(self, leading: int, rows: Array, rounds: int | None = None) -> LeafTable:
        """Prepare rows that will be asked about often.

        Args:
            leading: How many of the inputs, the first ones, will come with the question.
            rows: The other inputs, shape ``(n, d - leading)``.
            rounds: Trees to use; None: all.

        Returns:
            What tells the sum of the trees: what ``predict`` does, or its log odds where the objective is
            ``binary``.
        """
        dumped = self._booster.dump_model(num_iteration=rounds or -1)
        return LeafTable.of([tree["tree_structure"] for tree in dumped["tree_info"]], leading, rows)


def tree_parameters(objective: str, *, least_in_leaf: int, seed: int) -> dict[str, Any]:
    """Return LightGBM's parameters for trees that come out the same every time.

    Args:
        objective: LightGBM's name: ``regression`` or ``binary``.
        least_in_leaf: Rows that a leaf holds at least.
        seed: The same seed and data give the same trees.

    Returns:
        The parameters, the number of trees aside.
    """
    return {
        "objective": objective,
        "num_leaves": 15,
        "learning_rate": 0.1,
        "min_data_in_leaf": least_in_leaf,
        "min_data_in_bin": 1,
        "feature_fraction": 0.8,
        "lambda_l2": 1.0,
        "seed": seed,
        "num_threads": 1,
        "deterministic": True,
        # LightGBM otherwise times both layouts and takes the faster, which changes sums in the last bit.
        "force_row_wise": True,
        "verbosity": -1,
    }


def task_folds(tasks: int, most: int, *, seed: int) -> list[NDArray[np.int64]]:
    """Split tasks into folds of nearly equal size.

    Args:
        tasks: How many there are.
        most: Most folds; with so many tasks or fewer, each is left out by itself.
        seed: Of the shuffle.

    Returns:
        Positions of the tasks left out, fold by fold.
    """
    order = np.random.default_rng(seed).permutation(tasks)
    return [np.sort(fold) for fold in np.array_split(order, min(tasks, most))]


def nonnegative_weights(columns: Array, targets: Array, prior: Array, *, strength: float) -> Array:
    """Combine predictions: least squares with weights of at least 0, drawn towards a prior.

    Args:
        columns: Predictions, shape ``(n, k)``.
        targets: Shape ``(n,)``.
        prior: Weights in want of evidence, shape ``(k,)``.
        strength: How much the prior counts, as a share of the rows.

    Returns:
        The weights, shape ``(k,)``.
    """
    if len(targets) == 0:
        return prior.copy()
    gram = columns.T @ columns / len(targets)
    ridge = strength * max(float(np.trace(gram)) / len(prior), 1e-12)
    gram += ridge * np.eye(len(prior))
    moment = columns.T @ targets / len(targets) + ridge * prior
    weights = prior.copy()
    for _ in range(500):  # coordinate descent; k is at most 3, it converges long before
        for k in range(len(weights)):
            weights[k] = max(0.0, weights[k] + (moment[k] - gram[k] @ weights) / gram[k, k])
    return weights
