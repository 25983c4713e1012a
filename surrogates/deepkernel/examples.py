"""Examples to learn from: a past trial's score at a fidelity, given some of its curve before."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from surrogates.data.normalisation import Array
from surrogates.data.score_table import ScoreTable
from surrogates.deepkernel.inputs import Questions

_HELD_SHARE = 0.25
_MOST_HELD = 5
_HELD_CONFIGS = 5
"""With a single task, one in so many configs is held out."""


def held_out_tasks(tasks: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw a quarter of the tasks, at least one and at most five; none of a single one."""
    if len(tasks) < 2:
        return tasks[:0]
    return rng.permutation(tasks)[: min(max(round(_HELD_SHARE * len(tasks)), 1), _MOST_HELD)]


@dataclass(frozen=True, slots=True)
class Examples:
    """The points of a score table, as often as wanted, with prefixes of random length."""

    configs: Array
    """Encoded configs, shape ``(C, D)``."""
    features: Array
    """Encoded meta-features, shape ``(T, M)``."""
    scores: Array
    """Shape ``(T, C, F)``."""
    task: NDArray[np.int64]
    config: NDArray[np.int64]
    fidelity: NDArray[np.int64]

    @classmethod
    def of(cls, configs: Array, features: Array, table: ScoreTable) -> "Examples":
        """Take every point that was really run."""
        task, config, fidelity = np.nonzero(table.reached & ~np.isnan(table.scores))
        return cls(configs, features, table.scores, task, config, fidelity)

    def __len__(self) -> int:
        return len(self.task)

    def where(self, mask: NDArray[np.bool_]) -> "Examples":
        """Return some of the points; mask of shape ``(len(self),)``."""
        return Examples(
            self.configs, self.features, self.scores, self.task[mask], self.config[mask], self.fidelity[mask]
        )

    def split(self, rng: np.random.Generator) -> tuple["Examples", "Examples"]:
        """Hold out a quarter of the tasks, at least one and at most five.

        Args:
            rng: Which ones.

        Returns:
            The examples to train on and those held out, which are of other tasks; of other configs where
            there is a single task, and none where there is a single config too.
        """
        tasks, configs = np.unique(self.task), np.unique(self.config)
        if len(tasks) > 1:
            held = np.isin(self.task, held_out_tasks(tasks, rng))
        else:
            count = len(configs) // _HELD_CONFIGS if len(configs) >= _HELD_CONFIGS else len(configs) // 2
            held = np.isin(self.config, rng.permutation(configs)[:count])
        return self.where(~held), self.where(held)

    def sample(self, most: int, rng: np.random.Generator) -> "Examples":
        """Return at most so many points, drawn without replacement."""
        mask = np.zeros(len(self), dtype=bool)
        mask[rng.choice(len(self), min(most, len(self)), replace=False)] = True
        return self.where(mask)

    def mixed_lengths(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw how much of the curve is observed: a third nothing, a third all before, a third in between."""
        kind = rng.integers(3, size=len(self))
        return np.select(
            [kind == 0, kind == 1], [0, self.fidelity], np.asarray(rng.integers(0, self.fidelity + 1))
        )

    def questions(
        self, lengths: NDArray[np.int64], unknown: NDArray[np.bool_] | None = None
    ) -> tuple[Questions, Array]:
        """Ask for these points.

        Args:
            lengths: Fidelities observed before, at most the one asked for, shape ``(len(self),)``.
            unknown: Whether the task's meta-features are withheld, shape ``(len(self),)``; None: from none.

        Returns:
            The questions and the scores that answer them.
        """
        curves = self.scores[self.task, self.config]
        features = self.features[self.task]
        if unknown is not None:
            features = np.where(unknown[:, None], np.nan, features)
        questions = Questions(
            configs=self.configs[self.config],
            features=features,
            prefixes=np.where(np.arange(curves.shape[1]) < lengths[:, None], curves, np.nan),
            fidelities=self.fidelity,
        )
        return questions, curves[np.arange(len(self)), self.fidelity]
