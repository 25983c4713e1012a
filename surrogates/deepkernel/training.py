"""Meta-training of the deep-kernel process, and the refit on a new task.

The loss is the negative exact marginal log-likelihood of a mini-batch of examples of all tasks mixed. How
long is learned on tasks held out, whose points are in no batch then; the process that is kept is trained
anew for so long, on all tasks, since a quarter of few tasks is much.
"""

import copy
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from surrogates.data.normalisation import Array
from surrogates.deepkernel.examples import Examples
from surrogates.deepkernel.inputs import InputEncoder, Inputs, tensor
from surrogates.deepkernel.process import DeepKernelProcess

CONDITIONING = 1024
"""Most past examples that the process is conditioned on."""
_BATCH = 128
_CHECK_EVERY = 20
_PATIENCE = 120
"""Steps without a lower error before training ends."""
_LEARNING_RATE = 3e-3
_KERNEL_LEARNING_RATE = 3e-2
"""Of mean, kernel and noise: a few logarithms that have far to go in few steps."""
_REFIT_LEARNING_RATE = 1e-3
_MOST_HELD_POINTS = 1500
_WITHHELD = 0.25
"""Share of tasks in a batch, and of conditioning examples, whose meta-features are withheld."""
_BLUR = 0.6
"""Deviation of the noise on a task's meta-features in a batch, which are z-scores; without it, few tasks are
learned by heart."""
_REFIT_STEPS = 15
_REFIT_PAST = 64
_REFIT_NEW = 64
"""Examples in a batch of the refit."""
_FACTOR_RANGE = (0.5, 3.0)


@dataclass(frozen=True, slots=True)
class DeviationFactors:
    """What the process's deviations are multiplied by."""

    unseen: float
    """Where nothing of the curve was observed."""
    begun: float
    """Where some of it was."""

    @classmethod
    def of(cls, multiples: Array, lengths: NDArray[np.int64]) -> "DeviationFactors":
        """Learn from errors as multiples of the deviations told, by prefix length; shape ``(n,)`` each."""
        factors = []
        for part in (multiples[lengths == 0], multiples[lengths > 0]):
            scale = float(np.sqrt(np.mean(part**2))) if part.size else 1.0
            factors.append(float(np.clip(scale, *_FACTOR_RANGE)))
        return cls(*factors)

    def at(self, lengths: NDArray[np.int64]) -> Array:
        """Return the factors for prefixes of these lengths, shape ``(n,)``."""
        return np.where(lengths > 0, self.begun, self.unseen)


def meta_train(
    examples: Examples, encoder: InputEncoder, *, seed: int, most_steps: int
) -> tuple[DeepKernelProcess, DeviationFactors]:
    """Train on past tasks.

    Args:
        examples: At least one.
        encoder: What the networks read.
        seed: Of the split, the batches and the first weights; torch's own generator must be seeded too.
        most_steps: Of the optimiser, from 1.

    Returns:
        The process, and what makes its deviations right on the tasks held out.
    """
    rng = np.random.default_rng(seed)
    train, held = examples.split(rng)
    steps, factors = most_steps, DeviationFactors(1.0, 1.0)
    if len(held):
        steps, factors = _learn_on_held_out(train, held, encoder, rng, most_steps)
    process = _fresh(encoder)
    optimiser = _optimiser(process)
    for _ in range(steps):
        _step(process, optimiser, *_batch(examples, encoder, rng))
    return process, factors


def conditioning_set(
    examples: Examples, encoder: InputEncoder, rng: np.random.Generator
) -> tuple[Inputs, torch.Tensor]:
    """Draw the past examples that the process is conditioned on, at most ``CONDITIONING``."""
    chosen = examples.sample(CONDITIONING, rng)
    unknown = rng.random(len(chosen)) < _WITHHELD
    questions, scores = chosen.questions(chosen.mixed_lengths(rng), unknown)
    return encoder.encode(questions), tensor(scores)


def refitted(
    process: DeepKernelProcess,
    past: tuple[Inputs, torch.Tensor],
    new: tuple[Inputs, torch.Tensor],
    *,
    seed: int,
) -> DeepKernelProcess:
    """Train on past and new examples mixed, from given weights.

    Args:
        process: Where to begin; it is not changed.
        past: Past examples and their scores.
        new: Those of the new task.
        seed: Of the batches.

    Returns:
        A process of its own.
    """
    own = copy.deepcopy(process)
    rng = np.random.default_rng(seed)
    optimiser = torch.optim.AdamW(own.parameters(), lr=_REFIT_LEARNING_RATE, fused=True)
    for _ in range(_REFIT_STEPS):
        parts = [
            _rows(inputs, scores, rng.choice(len(inputs), min(most, len(inputs)), replace=False))
            for (inputs, scores), most in ((past, _REFIT_PAST), (new, _REFIT_NEW))
        ]
        (inputs, scores), (others, other_scores) = parts
        _step(own, optimiser, inputs.followed_by(others), torch.cat([scores, other_scores]))
    return own


def _learn_on_held_out(
    train: Examples, held: Examples, encoder: InputEncoder, rng: np.random.Generator, most_steps: int
) -> tuple[int, DeviationFactors]:
    """Return the steps with the lowest error on what is held out, and the deviations' factors then."""
    process = _fresh(encoder)
    optimiser = _optimiser(process)
    given = conditioning_set(train, encoder, rng)
    inputs, scores = _held_questions(held, encoder, rng)
    best, lowest, factors = most_steps, np.inf, DeviationFactors(1.0, 1.0)
    for step in range(1, most_steps + 1):
        _step(process, optimiser, *_batch(train, encoder, rng))
        if step % _CHECK_EVERY and step != most_steps:
            continue
        mean, variance = process.given(*given).predict(inputs)
        errors = (mean - scores).abs()
        if float(errors.mean()) < lowest:
            best, lowest = step, float(errors.mean())
            factors = DeviationFactors.of((errors / variance.sqrt()).numpy(), inputs.length.numpy())
        elif step - best >= _PATIENCE:
            break
    return best, factors


def _fresh(encoder: InputEncoder) -> DeepKernelProcess:
    return DeepKernelProcess(encoder.config_width, encoder.feature_width, encoder.fidelities)


def _optimiser(process: DeepKernelProcess) -> torch.optim.Optimizer:
    weights = list(process.extractor.parameters())
    own = {id(weight) for weight in weights}
    others = [parameter for parameter in process.parameters() if id(parameter) not in own]
    optimiser = torch.optim.AdamW(weights, lr=_LEARNING_RATE, fused=True)
    optimiser.add_param_group({"params": others, "lr": _KERNEL_LEARNING_RATE, "weight_decay": 0.0})
    return optimiser


def _step(
    process: DeepKernelProcess, optimiser: torch.optim.Optimizer, inputs: Inputs, scores: torch.Tensor
) -> None:
    with torch.enable_grad():
        optimiser.zero_grad()
        loss = -process.log_likelihood(inputs, scores)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()


def _batch(
    examples: Examples, encoder: InputEncoder, rng: np.random.Generator
) -> tuple[Inputs, torch.Tensor]:
    chosen = examples.sample(_BATCH, rng)
    withheld = rng.random(len(examples.features)) < _WITHHELD  # whole tasks, so that others must serve
    questions, scores = chosen.questions(chosen.mixed_lengths(rng), withheld[chosen.task])
    blur = _BLUR * rng.normal(size=examples.features.shape)[chosen.task]
    return encoder.encode(replace(questions, features=questions.features + blur)), tensor(scores)


def _held_questions(
    held: Examples, encoder: InputEncoder, rng: np.random.Generator
) -> tuple[Inputs, torch.Tensor]:
    """Ask for every point held out, half of them without any of its curve and half with all before."""
    chosen = held.sample(_MOST_HELD_POINTS, rng)
    lengths = np.where(rng.random(len(chosen)) < 0.5, 0, chosen.fidelity)
    questions, scores = chosen.questions(lengths)
    return encoder.encode(questions), tensor(scores)


def _rows(inputs: Inputs, scores: torch.Tensor, rows: NDArray[np.int64]) -> tuple[Inputs, torch.Tensor]:
    at = torch.as_tensor(rows)
    return inputs.rows(at), scores[at]
