"""Scores foretold for a pool of candidates; what does not depend on the task asked about is worked out once.

It is what ``Blend.combine`` would say of what the models tell, arranged for many questions about one pool.

| symbol | meaning | shape |
|---|---|---|
| T, F, P | past tasks, fidelities, candidates | |
| likeness | of the new task to every past one by its meta-features, as the kernel model learned it | (T,) |
| weights | of the past tasks, sum 1 | (T,) |
| sampled | scores if the new task deviates from what is foretold as one past task did | (F, T, P) |

Fidelities come first, so that what never falls with them is made so by whole blocks of memory.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from surrogates.data.normalisation import Array
from surrogates.data.score_table import ScoreTable
from surrogates.models.blend import PSEUDO_TASKS, Blend
from surrogates.models.kernel import KernelModel
from surrogates.models.leaves import LeafTable
from surrogates.models.performance import PerformanceModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Voices:
    """What the models tell of a pool, whichever blend of them is asked for."""

    kernel: KernelModel
    kernel_known: Array
    """What the kernel model tells of any task, shape ``(F, P)``."""
    kernel_by_likeness: Array
    """What it adds for a likeness of 1 to a past task, shape ``(T, F * P)``."""
    model: PerformanceModel
    encoded: Array
    """The candidates, shape ``(P, D)``."""
    without_features: Array
    """The trees' scores for an unknown task, shape ``(F, P)``."""
    is_seen: NDArray[np.bool_]
    """Whether a past task ran the candidate, shape ``(P,)``."""
    is_run: Array
    """1 where a past task ran it that far, else 0; shape ``(T, F * P)``."""
    record: Array
    """Its scores there, else 0; the same shape."""

    @classmethod
    def of(
        cls,
        table: ScoreTable,
        kernel: KernelModel,
        model: PerformanceModel,
        encoded: Array,
        places: NDArray[np.int64],
    ) -> "Voices":
        """Ask the models.

        Args:
            table: What was measured.
            kernel: The kernel model.
            model: The trees.
            encoded: The candidates, shape ``(P, D)``.
            places: Their positions among the past configs, -1 for fresh ones, shape ``(P,)``.

        Returns:
            What they tell.
        """
        known, by_likeness = kernel.parts(kernel.project(encoded, places))
        is_seen = places >= 0
        scores = _fidelity_first(np.where(is_seen[:, None], table.scores[:, places], np.nan))
        return cls(
            kernel=kernel,
            kernel_known=known.T.copy(),
            kernel_by_likeness=_fidelity_first(by_likeness),
            model=model,
            encoded=encoded,
            without_features=model.predict(encoded, None).T.copy(),
            is_seen=is_seen,
            is_run=(~np.isnan(scores)).astype(float),
            record=np.nan_to_num(scores, nan=0.0),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Foresight:
    """One blend of what is told of a pool."""

    voices: Voices
    seen: Array
    """The blend's weights for candidates with a record."""
    fresh: Array
    """Those for the others, of the record 0."""
    heard: NDArray[np.int64]
    """Candidates for which the trees' word on the task's meta-features counts."""
    trees: LeafTable | None
    """Their word, rows by fidelity; None: the trees are asked themselves."""
    deviations: Array
    """How each past task deviated from the prediction, without what was a single run's own; ``(F, T, P)``."""

    @classmethod
    def of(cls, voices: Voices, blend: Blend, deviations: Array, *, knows: bool, often: bool) -> "Foresight":
        """Arrange a blend.

        Args:
            voices: What the models tell.
            blend: How far to trust each.
            deviations: Shape ``(T, P, F)``.
            knows: Whether meta-features are believed.
            often: Whether so many questions will come that it pays to prepare the trees.

        Returns:
            What answers.
        """
        hears = np.where(voices.is_seen, blend.seen[1] > 0, blend.fresh[1] > 0)
        heard = np.flatnonzero(hears) if knows else np.zeros(0, dtype=np.int64)
        return cls(
            voices=voices,
            seen=blend.seen,
            fresh=np.append(blend.fresh, 0.0),
            heard=heard,
            trees=voices.model.leaf_table(voices.encoded[heard]) if often and heard.size else None,
            deviations=np.ascontiguousarray(deviations.transpose(2, 0, 1)),
        )

    def sampled(self, weights: Array, features: Array | None) -> Array:
        """Return the scores in every sample, never falling with the fidelity.

        Args:
            weights: Of the past tasks, shape ``(T,)``.
            features: The task's encoded meta-features, shape ``(M,)``; None for an unknown task.

        Returns:
            Shape ``(F, T, P)``.
        """
        sampled = self.foretold(weights, features)[:, None, :] + self.deviations
        for fidelity in range(1, len(sampled)):
            np.maximum(sampled[fidelity], sampled[fidelity - 1], out=sampled[fidelity])
        return sampled

    def foretold(self, weights: Array, features: Array | None) -> Array:
        """Return the scores that are foretold; arguments as for ``sampled``; shape ``(F, P)``."""
        voices = self.voices
        kernel = voices.kernel_known
        if features is not None:
            kernel = kernel + (voices.kernel.told(features) @ voices.kernel_by_likeness).reshape(kernel.shape)
        behind = (weights @ voices.is_run).reshape(kernel.shape)
        has_record = behind > 0
        trusts = [
            None if not (seen or fresh) else np.where(has_record, seen, fresh)
            for seen, fresh in zip(self.seen, self.fresh, strict=True)
        ]
        columns = (kernel, self._with_features(features), voices.without_features)
        foretold = np.zeros(kernel.shape)
        for trust, column in zip(trusts, columns, strict=False):
            if trust is not None:
                foretold += trust * column
        if trusts[3] is not None:
            foretold += trusts[3] * self._record(weights, behind)
        for fidelity in range(1, len(foretold)):
            np.maximum(foretold[fidelity], foretold[fidelity - 1], out=foretold[fidelity])
        return foretold

    def _with_features(self, features: Array | None) -> Array:
        """Return the trees' scores, for the task where they are heard."""
        unknown = self.voices.without_features
        if features is None or not self.heard.size:
            return unknown
        if self.trees is not None:
            heard = self.trees.at(features).reshape(len(unknown), -1)
        else:
            heard = self.voices.model.predict(self.voices.encoded[self.heard], features).T
        known = unknown.copy()
        known[:, self.heard] = heard
        return known

    def _record(self, weights: Array, behind: Array) -> Array:
        """Return the mean record, drawn towards the trees' word where few tasks ran the candidate."""
        shape = behind.shape
        sums = (weights @ self.voices.record).reshape(shape)
        squares = (weights**2 @ self.voices.is_run).reshape(shape)
        some = behind > 0
        means = np.divide(sums, behind, out=np.zeros(shape), where=some)
        counts = np.divide(behind**2, squares, out=np.zeros(shape), where=some)
        return np.asarray(
            (counts * means + PSEUDO_TASKS * self.voices.without_features) / (counts + PSEUDO_TASKS)
        )


def _fidelity_first(values: Array) -> Array:
    """Return values of shape ``(T, P, F)`` as ``(T, F * P)``."""
    return np.ascontiguousarray(values.transpose(0, 2, 1)).reshape(len(values), -1)
