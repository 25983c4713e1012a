"""The deep-kernel Gaussian process as a performance model, and two ways in which it takes a new task in."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from orchestrator.contracts import InputError
from surrogates.data.normalisation import Array
from surrogates.data.score_table import ScoreTable
from surrogates.deepkernel import MOST_STEPS
from surrogates.deepkernel.examples import Examples
from surrogates.deepkernel.inputs import InputEncoder, Inputs, Questions, held_still, tensor
from surrogates.deepkernel.process import DeepKernelProcess, Posterior
from surrogates.deepkernel.training import (
    DeviationFactors,
    conditioning_set,
    meta_train,
    refitted,
)
from surrogates.models.protocol import Belief, checked_prefixes, told_back


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepKernelModel:
    """A trained process, conditioned on examples. Taking a new task in makes another model."""

    encoder: InputEncoder
    process: DeepKernelProcess
    past: tuple[Inputs, torch.Tensor]
    """Past examples that it is conditioned on, and their scores."""
    posterior: Posterior
    factors: DeviationFactors
    """As tasks held out demand."""
    seed: int

    @classmethod
    def fit(
        cls, configs: Array, features: Array, table: ScoreTable, *, seed: int, most_steps: int = MOST_STEPS
    ) -> "DeepKernelModel":
        """Meta-train on past tasks.

        Args:
            configs: Encoded configs, shape ``(C, D)``.
            features: Encoded meta-features, shape ``(T, M)``.
            table: What was measured.
            seed: The same seed and data give the same model.
            most_steps: Of the optimiser, from 1; fewer where tasks held out are told no better by more.

        Returns:
            The model.

        Raises:
            InputError: The table has no score.
        """
        examples = Examples.of(configs, features, table)
        if not len(examples):
            raise InputError("the score table has no score to learn from; give at least one finished trial")
        encoder = InputEncoder(configs, features, table.epochs)
        with held_still(seed):
            process, factors = meta_train(examples, encoder, seed=seed, most_steps=most_steps)
            past = conditioning_set(examples, encoder, np.random.default_rng(seed))
            posterior = process.given(*past)
        return cls(
            encoder=encoder, process=process, past=past, posterior=posterior, factors=factors, seed=seed
        )

    def predict(self, configs: Array, features: Array | None, *, prefixes: Array | None = None) -> Belief:
        """Tell the scores of configs at every fidelity; see ``BeliefModel.predict``.

        Args:
            configs: Encoded configs, shape ``(P, D)``.
            features: The task's, shape ``(M,)``; None for an unknown task.
            prefixes: Observed scores, shape ``(P, F)``, NaN where not observed; None: nothing was run.

        Returns:
            The belief.

        Raises:
            InputError: The prefixes have another shape.
        """
        fidelities = self.encoder.fidelities
        seen = checked_prefixes(prefixes, len(configs), fidelities)
        row, place = np.divmod(np.arange(len(configs) * fidelities), fidelities)
        before = np.where(np.arange(fidelities) < place[:, None], seen[row], np.nan)
        mean, deviation = self.answer(self.ask(configs[row], features, before, place))
        shape = (len(configs), fidelities)
        return told_back(mean.reshape(shape), deviation.reshape(shape), seen)

    def ask(
        self, configs: Array, features: Array | None, prefixes: Array, fidelities: NDArray[np.int64]
    ) -> Questions:
        """Return questions about one task, a row a question; ``features`` None is an unknown task."""
        known = np.full(self.encoder.raw_feature_width, np.nan) if features is None else features
        return Questions(
            configs=configs,
            features=np.tile(known, (len(configs), 1)),
            prefixes=prefixes,
            fidelities=fidelities,
        )

    def answer(self, questions: Questions) -> tuple[Array, Array]:
        """Return mean and deviation of the scores asked for, shape ``(n,)`` each."""
        inputs = self.encoder.encode(questions)
        mean, variance = self.posterior.predict(inputs)
        return mean.numpy(), self.factors.at(inputs.length.numpy()) * np.sqrt(variance.numpy())

    def conditioned(self, questions: Questions, scores: Array) -> "DeepKernelModel":
        """Return the model with a new task's points beside the past examples; the weights stay.

        Args:
            questions: The points, n rows.
            scores: Shape ``(n,)``.

        Returns:
            The model that knows them.
        """
        if not len(scores):
            return self
        return self._knowing(self.process, self.encoder.encode(questions), tensor(scores))

    def refitted(self, questions: Questions, scores: Array) -> "DeepKernelModel":
        """Return the model trained on from its own weights with a new task's points, and conditioned on them.

        Args:
            questions: The points, n rows.
            scores: Shape ``(n,)``.

        Returns:
            The model that knows them.
        """
        if not len(scores):
            return self
        inputs, answers = self.encoder.encode(questions), tensor(scores)
        with held_still(self.seed):
            process = refitted(self.process, self.past, (inputs, answers), seed=self.seed + len(scores))
        return self._knowing(process, inputs, answers)

    def _knowing(self, process: DeepKernelProcess, inputs: Inputs, scores: torch.Tensor) -> "DeepKernelModel":
        past, past_scores = self.past
        with held_still(self.seed):
            posterior = process.given(past.followed_by(inputs), torch.cat([past_scores, scores]))
        return replace(self, process=process, posterior=posterior)
