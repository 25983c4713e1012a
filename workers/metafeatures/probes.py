"""What the base model makes of a task: its answers untrained, the first gradient, and a short finetuning.

The short finetuning is a trial like any other, by the trainer's own code: the default adapter on examples
chosen by their content, with a learning rate that follows from the base model's width. The same task and base
model give the same bits, whatever was drawn from any random stream before.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from orchestrator.contracts import Config, InputError, TaskId, TrainingSettings, Trial
from workers.metafeatures.samples import chosen_by_content
from workers.metafeatures.text import mean
from workers.models.base import BaseModel
from workers.models.facts import ModelFacts
from workers.tasks.records import Task
from workers.training.adapters import add_adapter
from workers.training.batches import split_by_tokens
from workers.training.encoding import EncodedExample, EncodedTask
from workers.training.evaluation import SplitMetrics, evaluate_split
from workers.training.forward import make_batch, target_logits, target_losses
from workers.training.hyperparameters import Hyperparameters
from workers.training.run import DivergedError, TrialRun

ZERO_SHOT_EXAMPLES = 64
"""Validation examples at most; where ``max_eval_examples`` is lower, that."""
GRADIENT_EXAMPLES = 32
"""Training examples at most."""
PROBE_STEPS = 50
"""Optimizer steps of the short finetuning."""
PROBE_EXAMPLES = 400
"""Training examples at most that it draws from."""
_PROBE_STEP_TOKENS = 256
"""Tokens of one of its steps at most, but for a longer example: tasks of any length cost alike."""
_MOST_STEP_EXAMPLES = 16
_PART_TOKENS = 2048
"""Padded tokens that go through the model at once."""
_KEY = "meta-features"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRun:
    """What a short finetuning came to."""

    loss: float
    """Mean nats per answer token on the examples asked, after it."""
    tokens_per_s: float
    """Training tokens, padding aside, over wall seconds."""


def probe(task: Task, encoded: EncodedTask, base: BaseModel, settings: TrainingSettings) -> dict[str, float]:
    """Measure the base model on examples of a task that are chosen by their content, whatever their order.

    Args:
        task: The task.
        encoded: Its tokens, by the base model's tokenizer.
        base: The unquantised base model; it is not changed.
        settings: Caps on examples and generated tokens.

    Returns:
        Names of ``FEATURES`` to numbers.

    Raises:
        InputError: The short finetuning diverges.
    """
    most = min(ZERO_SHOT_EXAMPLES, settings.max_eval_examples or ZERO_SHOT_EXAMPLES)
    asked = [encoded.validation[index] for index in chosen_by_content(task.validation, most)]
    shown = [encoded.train[index] for index in chosen_by_content(task.train, GRADIENT_EXAMPLES)]
    untrained = evaluate_split(base.model, base.tokenizer, asked, replace(settings, max_eval_examples=None))
    measured = {
        "zero_shot_loss": untrained.loss,
        "zero_shot_loss_sd": _deviation(untrained),
        "zero_shot_exact_match": untrained.exact_match,
        "zero_shot_token_f1": untrained.token_f1,
        "gradient_norm": first_gradient_norm(base, shown),
    }
    if not math.isfinite(untrained.loss):
        return measured
    trained = probe_run(task, encoded, base, asked)
    return measured | {
        "probe_loss_drop": untrained.loss - trained.loss,
        "probe_tokens_per_s": trained.tokens_per_s,
    }


def first_gradient_norm(base: BaseModel, examples: Sequence[EncodedExample]) -> float:
    """Return the norm of the gradient of a fresh default LoRA adapter.

    Args:
        base: The base model; it is not changed.
        examples: At least one.

    Returns:
        The Euclidean norm over all adapter weights of the gradient of the mean loss in nats per answer token.
    """
    adapted = add_adapter(base, Hyperparameters(lora_dropout=0.0), _KEY)
    adapted.model.train(False)  # the base may have dropout of its own
    tokens = sum(len(example.answer_tokens) for example in examples)
    for part in split_by_tokens([len(example.tokens) for example in examples], _PART_TOKENS):
        batch = make_batch(adapted.model, [examples[index] for index in part])
        losses = target_losses(target_logits(adapted.model, batch), batch)
        torch.autograd.backward(losses.sum() / tokens)
    gradients = [weight.grad for weight in adapted.parameters.values() if weight.grad is not None]
    return math.sqrt(math.fsum(float(gradient.double().square().sum()) for gradient in gradients))


def probe_run(task: Task, encoded: EncodedTask, base: BaseModel, asked: Sequence[EncodedExample]) -> ProbeRun:
    """Finetune a default adapter for some steps, and look at what it does to examples that were not shown.

    Args:
        task: The task.
        encoded: Its tokens.
        base: The unquantised base model; it is not changed.
        asked: Examples on which the loss is measured afterwards, at least one.

    Returns:
        That loss, and the speed.

    Raises:
        InputError: It diverges.
    """
    chosen = chosen_by_content(task.train, PROBE_EXAMPLES)
    sample = replace(
        encoded,
        train=tuple(encoded.train[index] for index in chosen),
        facts=tuple(encoded.facts[index] for index in chosen),
    )
    trial = _probe_trial(sample.train, base)
    run = TrialRun(trial, Hyperparameters.from_config(trial.config), base, sample)
    began_s, cpu_began_s = time.perf_counter(), time.process_time()
    try:
        run.train_epoch()
    except DivergedError as error:
        raise InputError(
            f"task {task.name} can't be measured with base model {base.name}: {error}, in a finetuning of "
            f"{PROBE_STEPS} steps at learning rate {trial.config['learning_rate']:g}; use another "
            "compute_dtype or base model"
        ) from error
    took_s = time.perf_counter() - began_s
    if base.device.type == "cpu":  # what other programs took of the cores is not the device's speed
        took_s = min(took_s, time.process_time() - cpu_began_s)
    # The loss is wanted and no answers: one token each costs next to nothing.
    after = evaluate_split(
        run.adapted.model, base.tokenizer, asked, replace(trial.settings, max_new_tokens=1)
    )
    return ProbeRun(loss=after.loss, tokens_per_s=run.tokens / took_s)


def probe_learning_rate(hidden_size: int) -> float:
    """Return a learning rate for LoRA that fits a model of this width.

    Args:
        hidden_size: Of the base model.

    Returns:
        5e-4 (2000 / width)^0.781, which is what Tinker's cookbook found best for Llama models in many runs of
        supervised finetuning; 3.6e-4 for Phi-3-mini.
    """
    return float(5e-4 * (2000 / hidden_size) ** 0.781)


def _probe_trial(examples: Sequence[EncodedExample], base: BaseModel) -> Trial:
    """Plan the short finetuning: one epoch of as many steps as it has."""
    tokens = mean([len(example.tokens) for example in examples])
    batch_size = min(max(int(_PROBE_STEP_TOKENS / tokens), 1), _MOST_STEP_EXAMPLES)
    config: Config = {
        "learning_rate": probe_learning_rate(ModelFacts.of(base.location).hidden_size),
        "lora_dropout": 0.0,
        "batch_size": batch_size,
    }
    return Trial(
        task_id=TaskId(_KEY),
        task_source=_KEY,
        task_name=_KEY,
        config=config,
        seed=0,
        base_model=base.name,
        base_fingerprint=base.fingerprint,
        space_version=_KEY,
        settings=TrainingSettings(
            horizon_epochs=1, examples_per_epoch=PROBE_STEPS * batch_size, compute_dtype=base.dtype
        ),
        max_epochs=1,
    )


def _deviation(metrics: SplitMetrics) -> float:
    """Return the standard deviation of the examples' losses about their mean."""
    middle = mean(metrics.example_losses)
    return math.sqrt(mean([(loss - middle) ** 2 for loss in metrics.example_losses]))
