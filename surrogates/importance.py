"""What decides how good a config is: hyperparameters and meta-features, by TreeSHAP.

Boosted trees learn the score of every config on every task, and each prediction is taken apart into what
every input moved it by (SHAP values; Lundberg and others, arXiv 1802.03888). They are averaged over a full
grid of past tasks and configs, so that a task with more trials counts no more than another.

| symbol | meaning |
|---|---|
| score | normal quantile of a trial's rank within its task, maximised, spread about 1; failures are lowest |
| φ | what one input moved one prediction by, in the score's unit; of a choice, over all its columns |
| importance | mean of the absolute φ over tasks and configs |
| general | mean over configs of the absolute mean of φ over tasks: what holds on every task alike |
| specific | mean of the absolute difference of φ from its mean over tasks: what is another on another task |
| R² | 1 − squared error / squared score, of tasks and configs both left out; 0 is no better than a guess |

Scores are ranks within tasks: a meta-feature can't move all configs of a task alike, only some against
others.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray

from orchestrator.contracts import NothingLearnedError
from surrogates.data.encoding import ConfigEncoder, FeatureEncoder
from surrogates.data.normalisation import Array
from surrogates.data.score_table import ScoreTable, build_table
from surrogates.effects import Effect, effects
from surrogates.metadataset import MetaDataset
from surrogates.models.boosting import ROUNDS, task_folds, tree_parameters

TASKS, CONFIGS = "tasks and configs", "configs"
TRUSTED_R2 = 0.1
"""Below this the model tells next to nothing of what was left out: importances would be those of noise."""
HELPFUL_GAIN = 0.05
"""Of R², from which meta-features are said to help; less than this comes and goes with the folds."""
FEWEST_ROWS = 20
"""Pairs of task and config from which anything is told."""
_MOST_CONFIGS = 400
"""Of the grid; more are drawn from."""
_CONFIGS_IN_LEAF = 3
_MOST_FOLDS = 8
_CONFIG_FOLDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class InputImportance:
    """How much one input decides; see the module for what the numbers mean."""

    name: str
    importance: float
    low: float
    high: float
    """Lowest and highest importance in the models that each lacked some of the data."""
    general: float
    specific: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Importance:
    """Importances, the largest first, and how far the model behind them is to be trusted."""

    hyperparameters: tuple[InputImportance, ...]
    meta_features: tuple[InputImportance, ...]
    effects: tuple[Effect, ...]
    """Of the hyperparameters, in the same order."""
    r2: float
    r2_without_meta_features: float
    """Of a model that is told nothing about tasks; ``r2`` less this is what meta-features are worth."""
    left_out: str
    """``tasks and configs``, together; ``configs`` where there is one task only."""
    tasks: int
    configs: int
    rows: int
    """Pairs of task and config that were learned from."""

    @property
    def is_trusted(self) -> bool:
        """Whether the model predicts what was left out well enough to be asked what it goes by."""
        return self.r2 >= TRUSTED_R2

    @property
    def features_help(self) -> bool:
        """Whether meta-features made predictions for tasks that were left out clearly better."""
        return self.left_out == TASKS and self.r2 >= self.r2_without_meta_features + HELPFUL_GAIN

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON-like values."""
        content: dict[str, Any] = asdict(self)
        return {**content, "is_trusted": self.is_trusted, "features_help": self.features_help}


def importance(meta: MetaDataset, *, seed: int = 0) -> Importance:
    """Tell how much each hyperparameter and each meta-feature decides about the score of a full run.

    Args:
        meta: Any; tasks on which every trial failed are left aside. A stopped trial counts with the best that
            it had reached.
        seed: The same seed and meta-dataset give the same answer.

    Returns:
        The importances.

    Raises:
        NothingLearnedError: There are fewer than 20 pairs of task and config, or all scores are equal.
    """
    whole = meta.without([task.task_id for task in meta.barren_tasks()])
    if not whole.tasks:
        raise NothingLearnedError("no trial without failure is left to tell importances from")
    table = build_table(whole)
    rows = _rows(whole, table)
    if len(rows.scores) < FEWEST_ROWS or np.ptp(rows.scores) == 0 or not len(rows.groups):
        raise NothingLearnedError(
            f"importances need {FEWEST_ROWS} finished trials of different configs and scores, there are "
            f"{len(rows.scores)}"
        )
    folds = _folds(rows, seed)
    r2, rounds = _left_out_r2(rows, folds, seed)
    bare_r2, _ = _left_out_r2(rows, folds, seed, bare=True)
    configs = _grid_configs(len(table.config_ids), seed)
    everything = np.ones(len(rows.scores), dtype=bool)
    phi = rows.contributions(everything, configs, rounds, seed)
    partial = np.array(
        [np.abs(rows.contributions(fold.train, configs, rounds, seed)).mean((1, 2)) for fold in folds]
    )
    told = [_told(name, phi[at], partial[:, at]) for at, name in enumerate(rows.groups)]
    known = len(rows.groups) - rows.features
    order = sorted(range(known), key=lambda at: -told[at].importance)
    features = sorted(told[known:], key=lambda item: -item.importance)
    chosen = [whole.configs[table.config_ids[place]] for place in configs]
    return Importance(
        hyperparameters=tuple(told[at] for at in order),
        meta_features=tuple(features),
        effects=effects(whole.space, chosen, {rows.groups[at]: phi[at].mean(axis=0) for at in order}),
        r2=r2,
        r2_without_meta_features=bare_r2,
        left_out=TASKS if len(whole.tasks) > 1 else CONFIGS,
        tasks=len(whole.tasks),
        configs=len(table.config_ids),
        rows=len(rows.scores),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """What is learned from: meta-features, then the config, in columns."""

    task: NDArray[np.int64]
    config: NDArray[np.int64]
    scores: Array
    by_task: Array
    """Encoded meta-features, shape ``(T, M)``."""
    by_config: Array
    """Encoded configs, shape ``(C, D)``."""
    groups: tuple[str, ...]
    """Hyperparameters, then meta-features."""
    members: tuple[NDArray[np.int64], ...]
    """The columns of each group."""

    @property
    def features(self) -> int:
        """How many columns, and so how many groups, are meta-features."""
        return int(self.by_task.shape[1])

    @property
    def leaf(self) -> int:
        """Fewest rows of a leaf: those of three configs, so that none is learned by heart."""
        return max(2, round(_CONFIGS_IN_LEAF * len(self.scores) / len(np.unique(self.config))))

    @property
    def inputs(self) -> Array:
        """Shape ``(n, M + D)``."""
        return np.concatenate([self.by_task[self.task], self.by_config[self.config]], axis=1)

    def contributions(
        self, chosen: NDArray[np.bool_], configs: NDArray[np.int64], rounds: int, seed: int
    ) -> Array:
        """Learn from some rows, and return φ of every group, task and config; ``(groups, T, configs)``."""
        model = _fit(self.inputs[chosen], self.scores[chosen], rounds, self.leaf, seed)
        tasks = len(self.by_task)
        grid = np.concatenate(
            [
                np.repeat(self.by_task, len(configs), axis=0),
                np.tile(self.by_config[configs], (tasks, 1)),
            ],
            axis=1,
        )
        phi: Array = model.predict(grid, pred_contrib=True, num_threads=1)
        return np.stack([phi[:, at].sum(axis=1).reshape(tasks, len(configs)) for at in self.members])


@dataclass(frozen=True, slots=True)
class _Fold:
    train: NDArray[np.bool_]
    held: NDArray[np.bool_]
    """Rows whose task and config were both left out."""


def _rows(meta: MetaDataset, table: ScoreTable) -> _Rows:
    encoder = ConfigEncoder(meta.space)
    features = [task.features for task in meta.tasks]
    encoded = FeatureEncoder.fitted(features, meta.learned_features)
    names = tuple(dict.fromkeys(encoder.names))
    width = len(encoded.names)
    by_name = [
        width + np.flatnonzero([name == column for column in encoder.names]).astype(np.int64)
        for name in names
    ]
    final = table.scores[:, :, -1]
    task, config = np.nonzero(table.is_run & ~np.isnan(final))
    return _Rows(
        task=task,
        config=config,
        scores=final[task, config],
        by_task=encoded.encode(features),
        by_config=encoder.encode([meta.configs[key] for key in table.config_ids]),
        groups=(*names, *encoded.names),
        members=(*by_name, *(np.array([column], dtype=np.int64) for column in range(width))),
    )


def _told(name: str, phi: Array, partial: Array) -> InputImportance:
    """Sum one input up from φ, shape ``(T, configs)``, and its importance in other models."""
    shared = phi.mean(axis=0)
    size = float(np.abs(phi).mean())
    return InputImportance(
        name=name,
        importance=size,
        low=float(min(size, *partial)),
        high=float(max(size, *partial)),
        general=float(np.abs(shared).mean()),
        specific=float(np.abs(phi - shared).mean()),
    )


def _folds(rows: _Rows, seed: int) -> list[_Fold]:
    """Leave out, in turn, some tasks and some configs; configs alone where there is one task."""
    parts = _groups(rows.config, _CONFIG_FOLDS, seed)
    if len(rows.by_task) == 1:
        return [_Fold(~part, part) for part in parts]
    tasks = _groups(rows.task, _MOST_FOLDS, seed)
    pairs = [(tasks[n % len(tasks)], parts[n % len(parts)]) for n in range(max(len(tasks), len(parts)))]
    # The same configs were run on all tasks: with them in training, trees would know each one by heart.
    folds = [_Fold(~task & ~part, task & part) for task, part in pairs]
    return [fold for fold in folds if fold.train.any() and fold.held.any()]


def _groups(key: NDArray[np.int64], most: int, seed: int) -> list[NDArray[np.bool_]]:
    """Return masks of rows, those that share a key together."""
    keys = np.unique(key)
    return [np.isin(key, keys[fold]) for fold in task_folds(len(keys), most, seed=seed)]


def _left_out_r2(rows: _Rows, folds: Sequence[_Fold], seed: int, *, bare: bool = False) -> tuple[float, int]:
    """Return R² of what was left out, and the number of trees that it was best with."""
    inputs = rows.inputs[:, rows.features :] if bare else rows.inputs
    scores, leaf = rows.scores, rows.leaf
    squares, total = np.zeros(len(ROUNDS)), 0.0
    for fold in folds:
        model = _fit(inputs[fold.train], scores[fold.train], ROUNDS[-1], leaf, seed)
        held = scores[fold.held]
        total += float((held**2).sum())
        for place, rounds in enumerate(ROUNDS):
            predicted: Array = model.predict(inputs[fold.held], num_iteration=rounds, num_threads=1)
            squares[place] += float(((predicted - held) ** 2).sum())
    best = int(np.argmin(squares))
    return float(1.0 - squares[best] / total) if total > 0 else 0.0, ROUNDS[best]


def _grid_configs(count: int, seed: int) -> NDArray[np.int64]:
    if count <= _MOST_CONFIGS:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, _MOST_CONFIGS, replace=False))


def _fit(inputs: Array, scores: Array, rounds: int, leaf: int, seed: int) -> lightgbm.Booster:
    least = min(leaf, max(1, len(inputs) // 4))
    parameters = tree_parameters("regression", least_in_leaf=least, seed=seed)
    return lightgbm.train(parameters, lightgbm.Dataset(inputs, scores, params=parameters), rounds)
