"""Examples put together into tensors, with the places whose next token is learned.

Three layouts. Padded: a row is an example. Packed: one row holds all examples end to end; positions begin
anew at each, by which transformers tells them apart and lets none see another. Paired, for encoder-decoders:
the prompts are the encoder's input, and the decoder is given the answers one place later.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain

import torch

from workers.training.encoding import EncodedExample

PACKED_ROW_TOKENS = 1024
"""Places of a packed row at most, but for a longer example. Attention without a kernel for ragged rows
compares all places of a row with one another: a longer row would cost more than the padding that it saves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A micro-batch. ``targets`` are its learned places, in the order of rows and places.

    A place's hidden state predicts the token after it, so a target's column is one less than its token's.
    """

    input_ids: torch.Tensor
    """Shape ``(rows, width)``, padded on the right."""
    attention_mask: torch.Tensor | None
    """Shape ``(rows, width)``; None where nothing is padded, or positions tell what belongs together."""
    position_ids: torch.Tensor | None = None
    """Shape ``(1, width)`` where the examples are packed, else None: places are counted."""
    decoder_input_ids: torch.Tensor | None = None
    """Shape ``(rows, places)``: of an encoder-decoder, the answers one place later. The targets' rows and
    columns are then the decoder's."""
    rows: torch.Tensor
    """Row of every target, shape ``(targets,)``."""
    columns: torch.Tensor
    """Place from which every target is predicted, shape ``(targets,)``."""
    labels: torch.Tensor
    """Token to be predicted, shape ``(targets,)``."""
    is_answer: torch.Tensor
    """Whether the token belongs to the answer or its end mark, shape ``(targets,)``."""
    examples: torch.Tensor
    """Which of the examples every target belongs to, shape ``(targets,)``."""


def collate(
    examples: Sequence[EncodedExample],
    *,
    device: torch.device,
    with_prompts: bool = False,
    packed: bool = False,
    decoder_start: int | None = None,
) -> Batch:
    """Put examples into tensors and list their targets.

    Args:
        examples: At least one.
        device: Where the tensors go.
        with_prompts: Whether the prompts' tokens, from the second on, are targets too; an encoder predicts
            nothing, so not for encoder-decoders.
        packed: Whether one row holds all examples.
        decoder_start: The token that a decoder is given first, of an encoder-decoder; None for causal models.

    Returns:
        The batch; its targets are in the examples' order.
    """
    if decoder_start is not None:
        return _pair(examples, device, decoder_start)
    lengths = [len(example.tokens) for example in examples]
    starts = [0, *accumulate(lengths)][:-1] if packed else [0] * len(examples)
    columns: list[int] = []
    labels: list[int] = []
    is_answer: list[bool] = []
    owners: list[int] = []
    for index, (example, start) in enumerate(zip(examples, starts, strict=True)):
        first = 1 if with_prompts else example.prompt_tokens
        places = range(first, len(example.tokens))
        columns += [start + place - 1 for place in places]
        labels += example.tokens[first:]
        is_answer += [place >= example.prompt_tokens for place in places]
        owners += [index] * len(places)
    of_example = torch.tensor(owners, device=device)
    rows = [example.tokens for example in examples]
    positions = list(chain.from_iterable(map(range, lengths)))
    return Batch(
        input_ids=_fill([list(chain.from_iterable(rows))] if packed else rows, device),
        attention_mask=None if packed or len(set(lengths)) == 1 else _mask(lengths, device),
        position_ids=_fill([positions], device) if packed else None,
        rows=torch.zeros_like(of_example) if packed else of_example,
        columns=torch.tensor(columns, device=device),
        labels=torch.tensor(labels, device=device),
        is_answer=torch.tensor(is_answer, device=device),
        examples=of_example,
    )


def split_by_tokens(lengths: Sequence[int], most_tokens: int, *, packed: bool = False) -> Iterator[list[int]]:
    """Cut a batch into parts of like length whose size stays within a bound.

    Args:
        lengths: Tokens of each example.
        most_tokens: Places of a part at most, padding included; a single longer example is a part of its own.
        packed: Whether the parts will be packed: nothing is padded, and ``PACKED_ROW_TOKENS`` is a bound too.

    Yields:
        Indices into ``lengths``, shortest examples first.
    """
    most = min(most_tokens, PACKED_ROW_TOKENS) if packed else most_tokens
    order = sorted(range(len(lengths)), key=lambda index: lengths[index])
    part: list[int] = []
    held = 0
    for index in order:
        places = held + lengths[index] if packed else (len(part) + 1) * lengths[index]
        if part and places > most:
            yield part
            part, held = [], 0
        part.append(index)
        held += lengths[index]
    if part:
        yield part


def _pair(examples: Sequence[EncodedExample], device: torch.device, decoder_start: int) -> Batch:
    """Give the prompts to the encoder and the answers to the decoder."""
    prompts = [example.tokens[: example.prompt_tokens] for example in examples]
    answers = [example.answer_tokens for example in examples]
    rows = torch.tensor([row for row, answer in enumerate(answers) for _ in answer], device=device)
    return Batch(
        input_ids=_fill(prompts, device),
        attention_mask=_mask([len(prompt) for prompt in prompts], device),
        decoder_input_ids=_fill([(decoder_start, *answer[:-1]) for answer in answers], device),
        rows=rows,
        columns=torch.tensor([place for answer in answers for place in range(len(answer))], device=device),
        labels=torch.tensor([token for answer in answers for token in answer], device=device),
        is_answer=torch.ones_like(rows, dtype=torch.bool),
        examples=rows,
    )


def _fill(rows: Sequence[Sequence[int]], device: torch.device) -> torch.Tensor:
    """Pad rows on the right. Any token will do: none sees these places, and they are no targets."""
    width = max(len(row) for row in rows)
    return torch.tensor([(*row, *((0,) * (width - len(row)))) for row in rows], device=device)


def _mask(lengths: Sequence[int], device: torch.device) -> torch.Tensor:
    """Return which places of the padded rows hold text."""
    places = torch.arange(max(lengths))
    return (places[None, :] < torch.tensor(lengths)[:, None]).to(device)
