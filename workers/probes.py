"""What the untrained base model makes of a task: zero-shot losses and answers, and the first gradient."""

import math
from collections.abc import Sequence
from dataclasses import replace

from orchestrator.contracts import TrainingSettings, digest
from workers.models.base import BaseModel
from workers.tasks.records import Example, Task
from workers.training.adapters import add_adapter
from workers.training.batches import collate, split_by_tokens
from workers.training.encoding import EncodedExample, EncodedTask
from workers.training.evaluation import evaluate_split
from workers.training.forward import target_logits, target_losses
from workers.training.hyperparameters import Hyperparameters

ZERO_SHOT_EXAMPLES = 64
"""Validation examples at most; where ``max_eval_examples`` is lower, that."""
GRADIENT_EXAMPLES = 32
"""Training examples at most."""
_PART_TOKENS = 2048
"""Padded tokens that go through the model at once."""


def probe(task: Task, encoded: EncodedTask, base: BaseModel, settings: TrainingSettings) -> dict[str, float]:
    """Measure the base model on examples of a task that are chosen by their content, whatever their order.

    Args:
        task: The task.
        encoded: Its tokens, by the base model's tokenizer.
        base: The unquantised base model; it is not changed.
        settings: Caps on examples and generated tokens.

    Returns:
        ``zero_shot_loss``, ``zero_shot_loss_sd``, ``zero_shot_exact_match`` and ``gradient_norm``.
    """
    most = min(ZERO_SHOT_EXAMPLES, settings.max_eval_examples or ZERO_SHOT_EXAMPLES)
    asked = _choose(task.validation, encoded.validation, most)
    shown = _choose(task.train, encoded.train, GRADIENT_EXAMPLES)
    zero_shot = evaluate_split(base.model, base.tokenizer, asked, replace(settings, max_eval_examples=None))
    middle = math.fsum(zero_shot.example_losses) / len(asked)
    squares = math.fsum((loss - middle) ** 2 for loss in zero_shot.example_losses)
    return {
        "zero_shot_loss": zero_shot.loss,
        "zero_shot_loss_sd": math.sqrt(squares / len(asked)),
        "zero_shot_exact_match": zero_shot.exact_match,
        "gradient_norm": first_gradient_norm(base, shown),
    }


def first_gradient_norm(base: BaseModel, examples: Sequence[EncodedExample]) -> float:
    """Return the norm of the gradient of a fresh default LoRA adapter.

    Args:
        base: The base model; it is not changed.
        examples: At least one.

    Returns:
        The Euclidean norm over all adapter weights of the gradient of the mean loss in nats per answer token.
    """
    adapted = add_adapter(base, Hyperparameters(lora_dropout=0.0), "meta-features")
    tokens = sum(len(example.answer_tokens) for example in examples)
    for part in split_by_tokens([len(example.tokens) for example in examples], _PART_TOKENS):
        batch = collate([examples[index] for index in part], device=base.device)
        losses = target_losses(target_logits(adapted.model, batch), batch)
        (losses.sum() / tokens).backward()  # type: ignore[no-untyped-call]
    gradients = [weight.grad for weight in adapted.parameters.values() if weight.grad is not None]
    return math.sqrt(math.fsum(float(gradient.double().square().sum()) for gradient in gradients))


def _choose(
    examples: Sequence[Example], encoded: Sequence[EncodedExample], most: int
) -> list[EncodedExample]:
    """Return the tokens of at most so many examples, chosen and ordered by their content."""
    order = sorted(
        range(len(examples)),
        key=lambda index: (digest([examples[index].question, examples[index].answer]), index),
    )
    return [encoded[index] for index in order[:most]]
