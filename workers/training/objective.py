"""What a training step minimises, beside what it records.

Notation: ``z`` the logits of one target and ``y`` its token; ``loss`` is the cross-entropy, in nats,
``logsumexp(z) - z[y]``; ``e`` is ``label_smoothing_factor`` and ``w`` is ``prompt_loss_weight``. A target's
part of the objective is transformers' smoothed cross-entropy,

    (1 - e) loss + e (logsumexp(z) - mean(z))  =  loss + e (z[y] - mean(z)),

times 1 if the target belongs to the answer and ``w`` if it belongs to the prompt. The objective is the sum
over all targets of the batch divided by the sum of their weights. The recorded ``train_loss`` is neither
smoothed nor weighted: it is the mean of ``loss`` over answer tokens.
"""

from collections.abc import Sequence

import torch

from workers.training.batches import Batch
from workers.training.encoding import EncodedExample
from workers.training.hyperparameters import Hyperparameters


def total_weight(examples: Sequence[EncodedExample], prompt_loss_weight: float) -> float:
    """Return the sum of the weights of all targets of a batch; a prompt's first token is no target."""
    return sum(
        len(example.answer_tokens) + prompt_loss_weight * (example.prompt_tokens - 1) for example in examples
    )


def weighted_objective(
    logits: torch.Tensor, losses: torch.Tensor, batch: Batch, hyper: Hyperparameters
) -> torch.Tensor:
    """Sum what is minimised over a micro-batch's targets.

    Args:
        logits: Shape ``(targets, vocabulary)``.
        losses: Cross-entropies in nats, shape ``(targets,)``.
        batch: Whose targets they are.
        hyper: Label smoothing and the prompts' weight.

    Returns:
        A scalar, differentiable; to be divided by the batch's ``total_weight``.
    """
    if hyper.label_smoothing_factor > 0:
        chosen = logits.gather(1, batch.labels[:, None])[:, 0]
        losses = losses + hyper.label_smoothing_factor * (chosen - logits.mean(dim=-1))
    if hyper.prompt_loss_weight == 0:
        return losses.sum()
    return losses[batch.is_answer].sum() + hyper.prompt_loss_weight * losses[~batch.is_answer].sum()
