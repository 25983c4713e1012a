"""Losses and answers on held-out examples: of a trial after each epoch, of the base for zero-shot numbers."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from orchestrator.contracts import TrainingSettings
from workers.metrics import exact_match, token_f1
from workers.training.batches import collate, split_by_tokens
from workers.training.encoding import EncodedExample
from workers.training.forward import target_logits, target_losses
from workers.training.generation import greedy_answers

ANSWER_MARGIN_TOKENS = 4
"""Tokens a generated answer may have more than the split's longest gold answer (end mark included)."""
EVAL_BATCH_TOKENS = 4096
"""Padded tokens of one evaluation batch; no hyperparameter, it changes the speed and nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitMetrics:
    """What a model makes of one split."""

    loss: float
    """Mean cross-entropy per answer token, end marks included, in nats."""
    exact_match: float
    """Share of greedy answers equal to the gold answer after SQuAD's normaliser."""
    token_f1: float
    """Mean token F1 of the greedy answers after SQuAD's normaliser."""
    example_losses: tuple[float, ...]
    """Mean nats per answer token of each example, in the split's order."""
    answers: tuple[str, ...]
    """The greedy answers, in the split's order."""


@dataclass(slots=True)
class _Judged:
    """One example's sums."""

    nats: float
    tokens: int
    answer: str


def evaluate_split(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[EncodedExample],
    settings: TrainingSettings,
) -> SplitMetrics:
    """Evaluate one split; see ``evaluate_splits``."""
    return evaluate_splits(model, tokenizer, [examples], settings)[0]


@torch.inference_mode()
def evaluate_splits(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    splits: Sequence[Sequence[EncodedExample]],
    settings: TrainingSettings,
    beat: Callable[[], None] = lambda: None,
) -> list[SplitMetrics]:
    """Measure losses and greedy answers of several splits in common batches.

    Args:
        model: A causal language model; its mode is evaluation meanwhile, and then as before.
        tokenizer: The model's.
        splits: Each at least one example long; the first ``max_eval_examples`` of each are used.
        settings: Caps on examples and on generated tokens.
        beat: Called after every batch.

    Returns:
        The metrics of each split.

    Raises:
        ValueError: A split is empty.
    """
    used = [split[: settings.max_eval_examples] for split in splits]
    if not all(used):
        raise ValueError("a split to be evaluated needs at least one example, got none")
    caps = []
    for split in used:
        longest = max(len(example.answer_tokens) for example in split)
        caps += [min(settings.max_new_tokens, longest + ANSWER_MARGIN_TOKENS)] * len(split)
    examples = [example for split in used for example in split]
    was_training = model.training
    model.train(False)
    try:
        judged = _judge(model, tokenizer, examples, caps, beat)
    finally:
        model.train(was_training)
    metrics, start = [], 0
    for split in used:
        metrics.append(_summarise(split, judged[start : start + len(split)]))
        start += len(split)
    return metrics


def _judge(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[EncodedExample],
    caps: Sequence[int],
    beat: Callable[[], None],
) -> list[_Judged]:
    """Run all examples through the model, like lengths together; the result is in their order."""
    ends = frozenset(example.tokens[-1] for example in examples) | {tokenizer.eos_token_id}
    nats = [0.0] * len(examples)
    tokens: list[list[int]] = [[]] * len(examples)
    for part in split_by_tokens([len(example.tokens) for example in examples], EVAL_BATCH_TOKENS):
        chosen = [examples[index] for index in part]
        batch = collate(chosen, device=model.device)
        cache = DynamicCache()
        logits = target_logits(model, batch, cache)
        losses = target_losses(logits, batch).double()
        sums = torch.zeros(len(part), dtype=torch.float64, device=losses.device).index_add_(
            0, batch.rows, losses
        )
        answers = greedy_answers(
            model,
            chosen,
            batch,
            logits.argmax(dim=-1),
            cache,
            most_tokens=[caps[index] for index in part],
            end_tokens=ends,
        )
        for index, total, answer in zip(part, sums.tolist(), answers, strict=True):
            nats[index], tokens[index] = total, answer
        beat()
    texts = tokenizer.batch_decode(tokens, skip_special_tokens=True)
    return [
        _Judged(total, len(example.answer_tokens), text.strip())
        for total, example, text in zip(nats, examples, texts, strict=True)
    ]


def _summarise(examples: Sequence[EncodedExample], judged: Sequence[_Judged]) -> SplitMetrics:
    """Turn one split's sums into means."""
    count = len(judged)
    pairs = [(row.answer, example.answer) for row, example in zip(judged, examples, strict=True)]
    return SplitMetrics(
        loss=math.fsum(row.nats for row in judged) / sum(row.tokens for row in judged),
        exact_match=math.fsum(exact_match(prediction, gold) for prediction, gold in pairs) / count,
        token_f1=math.fsum(token_f1(prediction, gold) for prediction, gold in pairs) / count,
        example_losses=tuple(row.nats / row.tokens for row in judged),
        answers=tuple(row.answer for row in judged),
    )
