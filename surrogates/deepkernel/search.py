"""Quick-Tune at work on one task: one fidelity of one config at a time, by expected improvement a second."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.contracts import InputError
from surrogates.baselines.progress import Progress
from surrogates.data.encoding import ConfigEncoder, FeatureEncoder
from surrogates.data.normalisation import Array
from surrogates.data.score_table import ScoreTable, build_table
from surrogates.deepkernel.acquisition import log_expected_improvement
from surrogates.deepkernel.cost import CostNetwork
from surrogates.deepkernel.inputs import Questions
from surrogates.deepkernel.model import DeepKernelModel
from surrogates.deepkernel.scale import LossScale, SlopePrior
from surrogates.metadataset import MetaDataset
from surrogates.stepwise import Point, Problem, Step

_MOST_NEW = 512
"""Points of the new task that the process is conditioned on; the newest stay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What is known before a task comes."""

    configs: ConfigEncoder
    features: FeatureEncoder
    table: ScoreTable
    model: DeepKernelModel
    costs: CostNetwork
    slope: SlopePrior
    worst: float
    """Score of a failed trial: the mean over past tasks of their lowest."""

    @classmethod
    def from_tasks(cls, meta: MetaDataset, *, seed: int, most_steps: int) -> "Learned":
        """Meta-train both networks.

        Args:
            meta: At least one task, and on every task a trial that did not fail.
            seed: The same seed gives the same networks.
            most_steps: Of the process's optimiser.

        Returns:
            What was learned.

        Raises:
            InputError: No epoch has a cost above 0.
        """
        table = build_table(meta)
        encoder = ConfigEncoder(meta.space)
        features = FeatureEncoder.fitted([task.features for task in meta.tasks], meta.learned_features)
        past = features.encode([task.features for task in meta.tasks])
        configs = encoder.encode([meta.configs[key] for key in table.config_ids])
        return cls(
            configs=encoder,
            features=features,
            table=table,
            model=DeepKernelModel.fit(configs, past, table, seed=seed, most_steps=most_steps),
            costs=CostNetwork(configs, past, table.full_cost_s, seed=seed),
            slope=SlopePrior.of(table.scales),
            worst=float(np.nanmin(table.scores, axis=(1, 2)).mean()),
        )


class Search:
    """An optimiser on one task; P candidates, F fidelities.

    Args:
        learned: From the past tasks.
        problem: The new task.
        conditions: Whether the new task's points join those that the process is conditioned on.
        refits: Whether its weights are trained on with them; only where it conditions.

    Raises:
        InputError: The problem has no candidate.
    """

    def __init__(self, learned: Learned, problem: Problem, *, conditions: bool, refits: bool) -> None:
        if not problem.candidates:
            raise InputError("a task without candidates can't be started; give at least one config")
        self._learned = learned
        self._conditions, self._refits = conditions, refits
        self._progress = Progress(problem)
        epochs = learned.table.epochs
        self._epochs = epochs[epochs <= problem.max_epochs]
        self._configs = learned.configs.encode(problem.candidates)
        self._features = learned.features.encode([problem.features])[0]
        self._foretold = learned.model.predict(self._configs, self._features)
        self._full_s = learned.costs.full_s(self._configs, self._features)
        self._seconds = np.zeros(len(self._configs))
        self._told: list[tuple[int, int]] = []
        """Candidate and fidelity of every step, in the order told."""
        self._asked: Step | None = None

    def ask(self) -> Step | None:
        """Return the step with the highest expected improvement a second; None when all are run or failed.

        Returns:
            The next fidelity of one candidate.

        Raises:
            InputError: Nothing was told of the step asked before.
        """
        if self._asked is not None:
            raise InputError(
                f"candidate {self._asked.candidate} was asked until epoch {self._asked.epochs} and nothing "
                "was told of it; tell before asking again"
            )
        if not len(self._epochs):
            return None
        who = np.flatnonzero(self._progress.below(int(self._epochs[-1])))
        if not len(who):
            return None
        scores = self._scores()
        place = self._reached()[who]
        model = self._model(scores)
        questions = model.ask(self._configs[who], self._features, scores[who], place)
        mean, deviation = model.answer(questions)
        improvement = log_expected_improvement(mean, deviation, self._best(scores)[place])
        chosen = int(np.argmax(improvement - np.log(self._step_s(who, place))))
        self._asked = Step(candidate=int(who[chosen]), epochs=int(self._epochs[place[chosen]]))
        return self._asked

    def tell(self, step: Step, points: Sequence[Point], *, failed: bool) -> None:
        """Take what came of the step asked.

        Args:
            step: As it was asked.
            points: Its new epochs, in order.
            failed: Whether the candidate can't be trained any further.

        Raises:
            InputError: Another step was asked, or none.
        """
        if step != self._asked:
            raise InputError(
                f"{step} was told, but {self._asked or 'nothing'} was asked; tell what was asked"
            )
        self._asked = None
        self._progress.record(step, points, failed=failed or not points)
        self._seconds[step.candidate] += sum(point.cost_s for point in points if point.cost_s > 0)
        self._told.append((step.candidate, int(np.searchsorted(self._epochs, step.epochs))))

    def _reached(self) -> NDArray[np.int64]:
        """Return how many fidelities each candidate was run to, shape ``(P,)``."""
        return np.searchsorted(self._epochs, self._progress.epochs, side="right")

    def _scores(self) -> Array:
        """Return what was observed as scores, NaN where nothing was or it failed; shape ``(P, F)``."""
        losses = np.full(self._foretold.mean.shape, np.nan)
        for place, epoch in enumerate(self._epochs):
            run = (self._progress.epochs >= epoch) & ~self._progress.failed
            losses[run, place] = self._progress.losses(int(epoch))[run]
        losses[~np.isfinite(losses)] = np.nan
        seen = ~np.isnan(losses)
        if not seen.any():
            return losses
        scale = LossScale.fitted(
            losses[seen],
            self._foretold.mean[seen],
            self._foretold.deviation[seen] ** 2,
            self._learned.slope,
        )
        return scale.scores(losses)

    def _best(self, scores: Array) -> Array:
        """Return the highest score seen up to each fidelity; before there is one, the median foretold."""
        highest = np.maximum.accumulate(np.where(np.isnan(scores), -np.inf, scores).max(axis=0))
        return np.where(np.isfinite(highest), highest, np.median(self._foretold.mean, axis=0))

    def _step_s(self, who: NDArray[np.int64], place: NDArray[np.int64]) -> Array:
        """Return the seconds of the next steps, told from the ratio measured so far; positive."""
        run = np.flatnonzero(self._seconds > 0)
        ratio = self._learned.costs.ratios.told(
            self._seconds[run], self._full_s[run] * self._share(self._progress.epochs[run])
        )
        ahead = self._share(self._epochs[place]) - self._share(self._progress.epochs[who])
        return np.asarray(ratio * self._full_s[who] * np.maximum(ahead, 1e-9))

    def _share(self, epochs: NDArray[np.int64]) -> Array:
        """Return the share of a full run's seconds that is gone at these epochs."""
        table = self._learned.table
        return np.asarray(np.interp(epochs, [0, *table.epochs], [0.0, *table.cost_shape]))

    def _model(self, scores: Array) -> DeepKernelModel:
        model = self._learned.model
        if not (self._conditions and self._told):
            return model
        questions, answers = self._points(scores)
        return model.refitted(questions, answers) if self._refits else model.conditioned(questions, answers)

    def _points(self, scores: Array) -> tuple[Questions, Array]:
        """Return what was seen on the task as examples: the curve so far to the next score."""
        told = np.array(self._told[-_MOST_NEW:])
        who, place = told[:, 0], told[:, 1]
        answers = scores[who, place]
        before = np.where(np.arange(scores.shape[1]) < place[:, None], scores[who], np.nan)
        failed = np.isnan(answers)
        questions = self._learned.model.ask(self._configs[who], self._features, before, place)
        return questions, np.where(failed, self._learned.worst, answers)
