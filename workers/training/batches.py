"""Examples put together into padded tensors, with the places whose next token is learned."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from workers.training.encoding import EncodedExample


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A padded micro-batch. ``targets`` are its learned places, in the order of rows and places.

    A place's hidden state predicts the token after it, so a target's column is one less than its token's.
    """

    input_ids: torch.Tensor
    """Shape ``(rows, width)``, padded on the right."""
    attention_mask: torch.Tensor | None
    """Shape ``(rows, width)``; None where nothing is padded."""
    rows: torch.Tensor
    """Row of every target, shape ``(targets,)``."""
    columns: torch.Tensor
    """Place from which every target is predicted, shape ``(targets,)``."""
    labels: torch.Tensor
    """Token to be predicted, shape ``(targets,)``."""
    is_answer: torch.Tensor
    """Whether the token belongs to the answer or its end mark, shape ``(targets,)``."""


def collate(examples: Sequence[EncodedExample], *, device: torch.device, with_prompts: bool = False) -> Batch:
    """Pad examples on the right and list their targets.

    Args:
        examples: At least one.
        device: Where the tensors go.
        with_prompts: Whether the prompts' tokens, from the second on, are targets too.

    Returns:
        The batch.
    """
    width = max(len(example.tokens) for example in examples)
    padded = [(*example.tokens, *((0,) * (width - len(example.tokens)))) for example in examples]
    mask = None
    if any(len(example.tokens) < width for example in examples):
        lengths = torch.tensor([len(example.tokens) for example in examples])
        mask = (torch.arange(width)[None, :] < lengths[:, None]).to(device)
    rows: list[int] = []
    columns: list[int] = []
    labels: list[int] = []
    is_answer: list[bool] = []
    for row, example in enumerate(examples):
        first = 1 if with_prompts else example.prompt_tokens
        count = len(example.tokens) - first
        rows += [row] * count
        columns += range(first - 1, first - 1 + count)
        labels += example.tokens[first:]
        is_answer += [place >= example.prompt_tokens for place in range(first, len(example.tokens))]
    return Batch(
        input_ids=torch.tensor(padded, device=device),
        attention_mask=mask,
        rows=torch.tensor(rows, device=device),
        columns=torch.tensor(columns, device=device),
        labels=torch.tensor(labels, device=device),
        is_answer=torch.tensor(is_answer, device=device),
    )


def split_by_tokens(lengths: Sequence[int], most_tokens: int) -> Iterator[list[int]]:
    """Cut a batch into parts of like length whose padded size stays within a bound.

    Args:
        lengths: Tokens of each example.
        most_tokens: Rows times width of a part at most; a single longer example is a part of its own.

    Yields:
        Indices into ``lengths``, shortest examples first.
    """
    order = sorted(range(len(lengths)), key=lambda index: lengths[index])
    part: list[int] = []
    for index in order:
        if part and (len(part) + 1) * lengths[index] > most_tokens:
            yield part
            part = []
        part.append(index)
    if part:
        yield part
