"""One trial in training: adapter, optimizer, place in the example stream, curve."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from orchestrator.contracts import CurvePoint, OrchestrationError, Trial
from workers.models.base import BaseModel
from workers.training.adapters import Adapted, add_adapter
from workers.training.batches import collate, split_by_tokens
from workers.training.checkpoints import Checkpoint
from workers.training.encoding import EncodedExample, EncodedTask
from workers.training.forward import target_logits, target_losses
from workers.training.hyperparameters import Hyperparameters
from workers.training.optimizers import build_optimizer, export_state, import_state, set_learning_rate
from workers.training.schedules import learning_rate_factor, warmup_length
from workers.training.stream import ExampleStream

MICRO_BATCH_TOKENS = 4096
"""Padded tokens that go through the model at once, which bounds memory; a larger batch is accumulated."""


class DivergedError(OrchestrationError):
    """A loss or gradient is not finite, or a loss beyond its bound; the trial's outcome is ``diverged``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochTraining:
    """What one epoch of training came to."""

    answer_nats: float
    """Sum of the cross-entropies of all answer tokens, each before the step it took part in."""
    answer_tokens: int

    @property
    def loss(self) -> float:
        """Mean nats per answer token."""
        return self.answer_nats / self.answer_tokens


class TrialRun:
    """The state of one trial between two optimizer steps.

    Made by a trainer for one attempt, and dropped with it; ``checkpoint`` takes out what survives,
    ``restore`` puts it back, and the steps after that are bit for bit those of a run never interrupted.
    """

    def __init__(self, trial: Trial, hyper: Hyperparameters, base: BaseModel, task: EncodedTask) -> None:
        self.trial = trial
        self.adapted: Adapted = add_adapter(base, hyper, trial.trial_id)
        self.curve: list[CurvePoint] = []
        self.step = 0
        self.tokens = 0
        self._hyper = hyper
        self._task = task
        self._device = base.device
        self._weights = list(self.adapted.parameters.values())
        self._optimizer = build_optimizer(self.adapted.parameters, hyper)
        self._stream = ExampleStream(task.facts, trial.trial_id, trial.settings.examples_per_epoch)
        self._lengths = [len(example.tokens) for example in task.train]
        self._total = trial.settings.horizon_epochs * self._stream.steps_per_epoch(hyper.batch_size)
        self._warmup = warmup_length(hyper.warmup_steps, self._total)

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.curve)

    def train_epoch(self, beat: Callable[[], None] = lambda: None) -> EpochTraining:
        """Train the next epoch.

        Args:
            beat: Called after every optimizer step.

        Returns:
            Its training loss, over answer tokens. A loss or gradient that is not finite ends the epoch with a
            ``DivergedError``.
        """
        nats, count = [], 0
        for indices in self._stream.batches(self.epoch + 1, self._hyper.batch_size, self._lengths):
            examples = [self._task.train[index] for index in indices]
            nats.append(self._train_step(examples))
            beat()
            count += sum(len(example.answer_tokens) for example in examples)
            self.tokens += sum(len(example.tokens) for example in examples)
        return EpochTraining(answer_nats=math.fsum(nats), answer_tokens=count)

    def checkpoint(self) -> Checkpoint:
        """Return the state after the last whole epoch, sharing memory with the run."""
        tensors, numbers = export_state(self._optimizer, self.adapted.parameters)
        return Checkpoint(
            trial_id=self.trial.trial_id,
            epoch=self.epoch,
            step=self.step,
            tokens=self.tokens,
            curve=tuple(self.curve),
            weights=self.adapted.parameters,
            optimizer_tensors=tensors,
            optimizer_numbers=numbers,
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take over a checkpoint's state."""
        self.load_weights(checkpoint.weights)
        import_state(
            self._optimizer,
            self.adapted.parameters,
            checkpoint.optimizer_tensors,
            checkpoint.optimizer_numbers,
        )
        self.curve = list(checkpoint.curve)
        self.step = checkpoint.step
        self.tokens = checkpoint.tokens

    @torch.no_grad()
    def load_weights(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Set the adapter's weights."""
        for name, weight in self.adapted.parameters.items():
            weight.copy_(weights[name])

    def _train_step(self, examples: Sequence[EncodedExample]) -> float:
        """Do one optimizer step; return the sum of the answer tokens' losses in nats."""
        hyper = self._hyper
        factor = learning_rate_factor(
            hyper.lr_scheduler_type, self.step, total=self._total, warmup=self._warmup
        )
        set_learning_rate(self._optimizer, factor)
        nats = self._backward(examples)
        norm = torch.nn.utils.clip_grad_norm_(self._weights, self.trial.settings.max_grad_norm)
        if not (math.isfinite(nats) and math.isfinite(norm.item())):
            raise DivergedError(
                f"the training loss or its gradient was not finite at step {self.step + 1} "
                f"(epoch {self.epoch + 1}): {nats:g} nats, gradient norm {norm.item():g}"
            )
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self.step += 1
        return nats

    def _backward(self, examples: Sequence[EncodedExample]) -> float:
        """Accumulate the gradient of the batch's mean loss per token, part by part."""
        prompt_weight = self._hyper.prompt_loss_weight
        weight = sum(
            len(example.answer_tokens) + prompt_weight * (example.prompt_tokens - 1) for example in examples
        )
        clock, model = self.adapted.clock, self.adapted.model
        nats = 0.0
        parts = split_by_tokens([len(example.tokens) for example in examples], MICRO_BATCH_TOKENS)
        for number, part in enumerate(parts):
            clock.step, clock.micro_batch = self.step, number
            batch = collate(
                [examples[index] for index in part], device=self._device, with_prompts=prompt_weight > 0
            )
            losses = target_losses(target_logits(model, batch), batch)
            answers = losses if prompt_weight == 0 else losses[batch.is_answer]
            objective = answers.sum()
            if prompt_weight > 0:
                objective = objective + prompt_weight * losses[~batch.is_answer].sum()
            torch.autograd.backward(objective / weight)
            nats += answers.detach().double().sum().item()
        return nats


def best_epoch(curve: Sequence[CurvePoint]) -> int:
    """Return the epoch with the lowest validation loss, the first of equals."""
    return min(curve, key=lambda point: (point.eval_loss, point.epoch)).epoch
