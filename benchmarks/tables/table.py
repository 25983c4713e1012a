"""A made table: frames of curves, configs and tasks, and how a training run becomes rows of them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from benchmarks.tables import data_sets
from benchmarks.tables.data_sets import Array, DataSet
from orchestrator.contracts import Config
from surrogates.data.space import Space, is_number
from surrogates.metadataset import MetaDataset


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One fidelity of a training run."""

    valid_loss: float
    """Log loss in nats, or mean squared error of standardised targets; NaN where the run diverged."""
    test_loss: float
    test_error: float
    """Share of wrong answers, or of the variance that is left."""
    seconds: float
    """Measured on this machine, for this epoch alone."""
    modelled_s: float
    """What it would take at 10⁹ multiply-adds a second: the same on every machine."""


def number(config: Config, name: str, inactive: float = 0.0) -> float:
    """Return a hyperparameter that is a number.

    Args:
        config: Of a space in which the name is one.
        name: Of the hyperparameter.
        inactive: What it is where a condition has left it out.

    Returns:
        The number.

    Raises:
        TypeError: It is none.
    """
    value = config.get(name, inactive)
    if not is_number(value):
        raise TypeError(f"{name} should be a number, got {value!r}")
    return float(value)


def judged_chances(chances: Array, targets: Array) -> tuple[float, float]:
    """Return a classification's loss and error.

    Args:
        chances: Shape ``(n, classes)``, from 0 to 1.
        targets: Class numbers, shape ``(n,)``.

    Returns:
        Log loss in nats, and the share of wrong answers.
    """
    least = np.finfo(np.float64).eps
    own = chances[np.arange(len(targets)), targets.astype(np.int64)]
    return float(-np.log(np.maximum(own, least)).mean()), float((chances.argmax(axis=1) != targets).mean())


def judged_values(values: Array, targets: Array) -> tuple[float, float]:
    """Return a regression's mean squared error, and its share of the targets' variance; shapes ``(n,)``."""
    loss = float(np.square(values - targets).mean())
    return loss, loss / float(np.var(targets))


class Training(Protocol):
    """A way of training."""

    def __call__(self, data: DataSet, config: Config, *, epochs: int, seed: int) -> Iterable[Epoch]:
        """Train; ends early after an epoch that diverged."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Learning curves of many configs on many data sets."""

    curves: pd.DataFrame
    configs: pd.DataFrame
    tasks: pd.DataFrame
    space: dict[str, Any]

    def meta_dataset(self, *, cost: str = "seconds") -> MetaDataset:
        """Return the table as a meta-dataset.

        Args:
            cost: ``seconds`` as measured, or ``modelled_s``, with which everything is deterministic.

        Returns:
            The meta-dataset; ``valid_loss`` decides, the test's loss and error are reported.
        """
        return MetaDataset.from_frames(
            self.curves,
            self.configs,
            self.tasks,
            space=self.space,
            metric="valid_loss",
            direction="minimise",
            cost=cost,
            reports=("test_loss", "test_error"),
        )


def make_table(
    space: dict[str, Any],
    training: Training,
    *,
    tasks: Sequence[str],
    configs: int,
    epochs: int,
    seed: int,
    shared: bool,
    progress: Callable[[str], None] = lambda name: None,
) -> Table:
    """Train random configs on data sets.

    Args:
        space: Declares the configs.
        training: What is run.
        tasks: Names of data sets.
        configs: Number of configs a data set.
        epochs: Of a full run.
        seed: Of the draws and of every run.
        shared: Whether all data sets get the same configs, or each its own.
        progress: Called with each data set's name when it is begun.

    Returns:
        The table.
    """
    declared = Space(space)
    rows: list[dict[str, Any]] = []
    drawn: dict[str, Config] = {}
    features = []
    for place, name in enumerate(tasks):
        progress(name)
        data = data_sets.load(name)
        features.append({"task_id": name, **data_sets.meta_features(data)})
        stem, drawn_with = ("c", seed) if shared else (f"{name}-c", seed + 1 + place)
        pool = {
            f"{stem}{number:03d}": c for number, c in enumerate(declared.sample(configs, seed=drawn_with))
        }
        drawn |= pool
        for config_id, config in pool.items():
            reached = enumerate(training(data, config, epochs=epochs, seed=seed), 1)
            rows += [
                {"task_id": name, "config_id": config_id, "epoch": epoch}
                | {field: getattr(point, field) for field in Epoch.__slots__}
                for epoch, point in reached
            ]
    return Table(
        curves=pd.DataFrame(rows),
        configs=pd.DataFrame([{"config_id": key, **config} for key, config in drawn.items()]),
        tasks=pd.DataFrame(features),
        space=space,
    )
