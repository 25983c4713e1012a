"""What the networks read: configs, meta-features, the observed part of a curve, the fidelity asked about."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray

from surrogates.data.normalisation import Array

DTYPE = torch.float64
"""Given to every tensor, so that the process's default does not matter."""
_MOST_SPREADS = 4.0
"""A value farther than this from the mean is read as lying there: networks do not extend what they saw."""
_TINY_SPREAD = 1e-9


@contextmanager
def held_still(seed: int) -> Iterator[None]:
    """Run torch on one thread with its own random numbers, and leave both as they were found.

    Args:
        seed: Of torch's generator inside.

    Yields:
        Nothing.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)


def tensor(values: Array) -> torch.Tensor:
    """Return a copy as a tensor on the CPU."""
    return torch.tensor(values, dtype=DTYPE, device="cpu")


@dataclass(frozen=True, slots=True)
class Columns:
    """Turns a matrix with gaps into z-scores: gaps at the mean, beside them what is a gap.

    Columns that are constant over what was learned from are left out, and so are indicators.
    """

    kept: NDArray[np.intp]
    means: Array
    spreads: Array
    flagged: NDArray[np.intp]
    """Columns that are missing in some rows but not in all."""

    @classmethod
    def fitted(cls, matrix: Array) -> "Columns":
        """Learn means and spreads; shape ``(n, d)``, NaN where missing."""
        known = ~np.isnan(matrix)
        counts = np.maximum(known.sum(axis=0), 1)
        means = np.where(known, matrix, 0.0).sum(axis=0) / counts
        spreads = np.sqrt(np.where(known, (matrix - means) ** 2, 0.0).sum(axis=0) / counts)
        kept = np.flatnonzero(spreads > _TINY_SPREAD)
        flagged = np.flatnonzero(known.any(axis=0) & ~known.all(axis=0))
        return cls(kept, means[kept], spreads[kept], flagged)

    @property
    def width(self) -> int:
        """Columns after encoding."""
        return len(self.kept) + len(self.flagged)

    def encode(self, matrix: Array) -> Array:
        """Encode; shape ``(n, width)``, no NaN."""
        scaled = (matrix[:, self.kept] - self.means) / self.spreads
        scaled = np.clip(np.nan_to_num(scaled, nan=0.0), -_MOST_SPREADS, _MOST_SPREADS)
        return np.concatenate([scaled, np.isnan(matrix[:, self.flagged]).astype(float)], axis=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """Which score is asked for, a row a question; n rows."""

    configs: Array
    """Encoded configs, shape ``(n, D)``."""
    features: Array
    """Encoded meta-features of its task, shape ``(n, M)``; all NaN for an unknown task."""
    prefixes: Array
    """Scores observed before, shape ``(n, F)``; NaN where not observed."""
    fidelities: NDArray[np.int64]
    """Position asked about among the table's fidelities, shape ``(n,)``."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Questions as the network reads them; n rows."""

    configs: torch.Tensor
    features: torch.Tensor
    """The last column says that nothing is known of the task; no columns where there are no meta-features."""
    curves: torch.Tensor
    """Observed scores, the last one carried on, and which were observed; shape ``(n, 2 F)``."""
    fidelities: torch.Tensor
    """Logarithm of the fidelity as a share of the largest one's, shape ``(n, 1)``."""
    length: torch.Tensor
    """Fidelities up to the last one observed, whole numbers from 0, shape ``(n,)``."""
    place: torch.Tensor
    """Position of the fidelity asked about, shape ``(n,)``."""

    def __len__(self) -> int:
        return len(self.place)

    def rows(self, at: torch.Tensor) -> "Inputs":
        """Return some of the questions; positions of shape ``(m,)``."""
        return Inputs(*(getattr(self, item.name)[at] for item in fields(self)))

    def followed_by(self, others: "Inputs") -> "Inputs":
        """Return these questions and then the others."""
        pairs = ((getattr(self, item.name), getattr(others, item.name)) for item in fields(self))
        return Inputs(*(torch.cat(pair) for pair in pairs))


class InputEncoder:
    """Encodes questions, all numbers of about unit size.

    Args:
        configs: Encoded configs of the past, shape ``(C, D)``.
        features: Encoded meta-features of the past tasks, shape ``(T, M)``.
        epochs: The fidelities, shape ``(F,)``.
    """

    def __init__(self, configs: Array, features: Array, epochs: NDArray[np.int64]) -> None:
        self._configs = Columns.fitted(configs)
        self._features = Columns.fitted(features)
        doublings = np.log2(epochs.astype(float))
        self._shares = doublings / max(float(doublings[-1]), 1.0)
        self.raw_feature_width = features.shape[1]
        """Columns of meta-features before they are encoded here."""
        self.config_width = self._configs.width
        self.feature_width = self._features.width + 1 if self._features.width else 0

    @property
    def fidelities(self) -> int:
        """How many fidelities there are."""
        return len(self._shares)

    def configs(self, configs: Array) -> torch.Tensor:
        """Encode configs; shape ``(n, config_width)``."""
        return tensor(self._configs.encode(configs))

    def features(self, features: Array) -> torch.Tensor:
        """Encode meta-features; shape ``(n, feature_width)``."""
        if not self.feature_width:
            return tensor(np.zeros((len(features), 0)))
        unknown = np.asarray(np.isnan(features).all(axis=1))
        encoded = self._features.encode(features)
        encoded[unknown] = 0.0
        return tensor(np.concatenate([encoded, unknown[:, None].astype(float)], axis=1))

    def encode(self, questions: Questions) -> Inputs:
        """Encode questions."""
        observed = np.asarray(~np.isnan(questions.prefixes))
        last = np.maximum.accumulate(np.where(observed, np.arange(observed.shape[1]), -1), axis=1)
        carried = np.take_along_axis(np.nan_to_num(questions.prefixes, nan=0.0), np.maximum(last, 0), axis=1)
        carried[last < 0] = 0.0
        return Inputs(
            configs=self.configs(questions.configs),
            features=self.features(questions.features),
            curves=tensor(np.concatenate([carried, observed.astype(float)], axis=1)),
            fidelities=tensor(self._shares[questions.fidelities][:, None]),
            length=torch.tensor(last[:, -1] + 1, dtype=torch.int64, device="cpu"),
            place=torch.tensor(questions.fidelities, dtype=torch.int64, device="cpu"),
        )
