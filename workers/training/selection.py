"""Hard examples: of several wordings of a fact, the one that the model finds hardest is trained on."""

from collections.abc import Callable, Sequence

import torch

from workers.training.encoding import EncodedExample

ExampleLosses = Callable[[Sequence[EncodedExample]], torch.Tensor]
"""From examples to their mean losses in nats per answer token, shape ``(examples,)``."""


def hardest(
    train: Sequence[EncodedExample], groups: Sequence[Sequence[int]], losses_of: ExampleLosses
) -> list[int]:
    """Choose one training example of every group: that with the highest loss, the first of equals.

    Args:
        train: All training examples.
        groups: Indices of the candidates, at least one each.
        losses_of: Measures examples as the model is now.

    Returns:
        One index for every group, in their order.
    """
    contested = [index for group in groups if len(group) > 1 for index in group]
    if not contested:
        return [group[0] for group in groups]
    losses = iter(losses_of([train[index] for index in contested]).tolist())
    chosen = []
    for group in groups:
        found = [next(losses) for _ in group] if len(group) > 1 else [0.0]
        chosen.append(group[found.index(max(found))])
    return chosen
