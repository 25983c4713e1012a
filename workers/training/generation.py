"""Greedy answers, continued from the first token at which teacher forcing and the model part.

Notation: an example's prompt has ``p`` tokens and its gold answer, end mark included, ``a``. Teacher forcing
tells the model's choice after the prompt and ``k`` gold tokens for every ``k < a`` at once. As long as the
choices are the gold tokens, the greedy answer is the gold answer; at the first that is not, the greedy answer
has the choice instead, and only from there on tokens have to be generated one by one. The key-value cache
that teacher forcing filled is kept: its places from ``p + k`` on are masked, new tokens come after them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import DynamicCache, PreTrainedModel

from workers.training.batches import Batch
from workers.training.encoding import EncodedExample


@dataclass(slots=True)
class _Row:
    """One answer that is not finished."""

    index: int
    """The example's place in the batch."""
    known_tokens: int
    """Prompt and gold tokens that precede the first choice: valid places of the cache."""
    answer: list[int]
    most_tokens: int


def greedy_answers(
    model: PreTrainedModel,
    examples: Sequence[EncodedExample],
    batch: Batch,
    choices: torch.Tensor,
    cache: DynamicCache,
    *,
    most_tokens: Sequence[int],
    end_tokens: frozenset[int],
) -> list[list[int]]:
    """Return the tokens a greedy decoder answers with.

    Args:
        model: A causal language model in evaluation mode.
        examples: Those of the batch, in its order.
        batch: The teacher-forced batch, without prompt targets.
        choices: The most likely token at each of the batch's targets, shape ``(targets,)``.
        cache: What teacher forcing left; it is used up.
        most_tokens: Cap on each answer's tokens.
        end_tokens: Tokens that end an answer.

    Returns:
        For each example the answer's tokens, without the end mark.
    """
    answers: list[list[int]] = []
    open_rows: list[_Row] = []
    flat = choices.tolist()
    start = 0
    for index, example in enumerate(examples):
        gold = example.answer_tokens
        chosen = flat[start : start + len(gold)]
        start += len(gold)
        agreed = next((place for place, token in enumerate(gold) if chosen[place] != token), len(gold))
        answer = chosen[: min(agreed + 1, most_tokens[index])]
        answers.append(answer)
        if agreed < len(gold) and len(answer) < most_tokens[index] and answer[-1] not in end_tokens:
            open_rows.append(_Row(index, example.prompt_tokens + agreed, answer, most_tokens[index]))
    if open_rows:
        _continue(model, open_rows, batch, cache, end_tokens)
    return [answer[:-1] if answer and answer[-1] in end_tokens else answer for answer in answers]


def _continue(
    model: PreTrainedModel, rows: list[_Row], batch: Batch, cache: DynamicCache, end_tokens: frozenset[int]
) -> None:
    """Extend the rows' answers token by token, in place, until each has ended or is full."""
    device = batch.input_ids.device
    width = batch.input_ids.shape[1]
    cache.batch_select_indices(torch.tensor([row.index for row in rows], device=device))
    known = torch.tensor([row.known_tokens for row in rows], device=device)
    mask = torch.arange(width, device=device)[None, :] < known[:, None]
    last = torch.tensor([row.answer[-1] for row in rows], device=device)
    done = [False] * len(rows)
    step = 0
    while True:
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
        outputs = model(
            input_ids=last[:, None],
            attention_mask=mask,
            position_ids=(known + step)[:, None],
            past_key_values=cache,
            use_cache=True,
        )
        last = outputs.logits[:, -1].argmax(dim=-1)
        step += 1
        for place, token in enumerate(last.tolist()):
            row = rows[place]
            if not done[place]:
                row.answer.append(token)
                done[place] = token in end_tokens or len(row.answer) >= row.most_tokens
        if all(done):
            return
        if 2 * sum(done) >= len(rows):
            kept = [place for place in range(len(rows)) if not done[place]]
            chosen = torch.tensor(kept, device=device)
            cache.batch_select_indices(chosen)
            known, mask, last = known[chosen], mask[chosen], last[chosen]
            rows, done = [rows[place] for place in kept], [False] * len(kept)
