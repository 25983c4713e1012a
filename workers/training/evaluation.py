"""Losses and answers on held-out examples: of a trial after each epoch, of the base for zero-shot numbers."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from orchestrator.contracts import TrainingSettings
from workers.metrics import exact_match, rouge_l, token_f1
from workers.models.facts import position_limit
from workers.training.batches import split_by_tokens
from workers.training.encoding import EncodedExample, end_tokens
from workers.training.forward import make_batch, run_model, target_losses
from workers.training.generation import greedy_answers
from workers.training.virtual import VirtualTokens

ANSWER_MARGIN_TOKENS = 4
"""Tokens a generated answer may have more than the split's longest gold answer (end mark included)."""
EVAL_BATCH_TOKENS = 2048
"""Padded tokens of one evaluation batch; no hyperparameter, it changes the speed and nothing else. Twice as
many take a fifth longer on a CPU, whose caches they leave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitMetrics:
    """What a model makes of one split."""

    loss: float
    """Mean cross-entropy per answer token, end marks included, in nats."""
    exact_match: float
    """Share of greedy answers equal to the gold answer after SQuAD's normaliser."""
    token_f1: float
    """Mean token F1 of the greedy answers after SQuAD's normaliser."""
    rouge_l: float
    """Mean ROUGE-L F-measure of the greedy answers."""
    example_losses: tuple[float, ...]
    """Mean nats per answer token of each example, in the split's order."""
    answers: tuple[str, ...]
    """The greedy answers, in the split's order."""
    generation_s: float = field(compare=False)
    """Wall seconds of generating the answers beyond what teacher forcing tells; of a batch with examples of
    several splits, each split's share by number."""


@dataclass(slots=True)
class _Judged:
    """One example's sums."""

    nats: float
    tokens: int
    answer: str
    generation_s: float


def evaluate_split(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[EncodedExample],
    settings: TrainingSettings,
    *,
    virtual: VirtualTokens | None = None,
) -> SplitMetrics:
    """Evaluate one split; see ``evaluate_splits``."""
    return evaluate_splits(model, tokenizer, [examples], settings, virtual=virtual)[0]


@torch.inference_mode()
def evaluate_splits(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    splits: Sequence[Sequence[EncodedExample]],
    settings: TrainingSettings,
    beat: Callable[[], None] = lambda: None,
    *,
    virtual: VirtualTokens | None = None,
) -> list[SplitMetrics]:
    """Measure losses and greedy answers of several splits in common batches.

    Args:
        model: A causal or encoder-decoder language model; its mode is evaluation meanwhile, then as before.
        tokenizer: The model's.
        splits: Each at least one example long; the first ``max_eval_examples`` of each are used.
        settings: Caps on examples and on generated tokens.
        beat: Called after every batch.
        virtual: What stands before the text, or None.

    Returns:
        The metrics of each split.

    Raises:
        ValueError: A split is empty.
    """
    used = [split[: settings.max_eval_examples] for split in splits]
    if not all(used):
        raise ValueError("a split to be evaluated needs at least one example, got none")
    caps = [cap for split in used for cap in _caps(model, split, settings, virtual)]
    examples = [example for split in used for example in split]
    was_training = model.training
    model.train(False)
    try:
        judged = _judge(model, tokenizer, examples, caps, beat, virtual)
    finally:
        model.train(was_training)
    metrics, start = [], 0
    for split in used:
        metrics.append(_summarise(split, judged[start : start + len(split)]))
        start += len(split)
    return metrics


def _caps(
    model: PreTrainedModel,
    examples: Sequence[EncodedExample],
    settings: TrainingSettings,
    virtual: VirtualTokens | None,
) -> Iterator[int]:
    """Yield how many tokens each example of a split may be answered with."""
    longest = max(len(example.answer_tokens) for example in examples)
    most = min(settings.max_new_tokens, longest + ANSWER_MARGIN_TOKENS)
    limit = position_limit(model.config)
    before = 0 if virtual is None else virtual.count
    for example in examples:
        # A decoder's places are its answer's alone.
        taken = 0 if model.config.is_encoder_decoder else before + example.prompt_tokens
        yield most if limit is None else max(1, min(most, limit - taken))


def _judge(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[EncodedExample],
    caps: Sequence[int],
    beat: Callable[[], None],
    virtual: VirtualTokens | None,
) -> list[_Judged]:
    """Run all examples through the model, like lengths together; the result is in their order."""
    ends = end_tokens(tokenizer, examples)
    nats, seconds = [0.0] * len(examples), [0.0] * len(examples)
    tokens: list[list[int]] = [[]] * len(examples)
    for part in split_by_tokens([len(example.tokens) for example in examples], EVAL_BATCH_TOKENS):
        chosen = [examples[index] for index in part]
        batch = make_batch(model, chosen)
        forced = run_model(model, batch, virtual=virtual, keep_cache=True)
        losses = target_losses(forced.logits, batch).double()
        zeros = torch.zeros(len(part), dtype=torch.float64, device=losses.device)
        sums = zeros.index_add_(0, batch.examples, losses).tolist()
        began_s = time.perf_counter()
        answers = greedy_answers(
            model,
            chosen,
            batch,
            forced,
            most_tokens=[caps[index] for index in part],
            end_tokens=ends,
            virtual=virtual,
        )
        each_s = (time.perf_counter() - began_s) / len(part)
        for index, total, answer in zip(part, sums, answers, strict=True):
            nats[index], tokens[index], seconds[index] = total, answer, each_s
        beat()
    texts = tokenizer.batch_decode(tokens, skip_special_tokens=True)
    return [
        _Judged(total, len(example.answer_tokens), text.strip(), each_s)
        for total, example, text, each_s in zip(nats, examples, texts, seconds, strict=True)
    ]


def _summarise(examples: Sequence[EncodedExample], judged: Sequence[_Judged]) -> SplitMetrics:
    """Turn one split's sums into means."""
    count = len(judged)
    pairs = [(row.answer, example.answer) for row, example in zip(judged, examples, strict=True)]
    return SplitMetrics(
        loss=math.fsum(row.nats for row in judged) / sum(row.tokens for row in judged),
        exact_match=math.fsum(exact_match(prediction, gold) for prediction, gold in pairs) / count,
        token_f1=math.fsum(token_f1(prediction, gold) for prediction, gold in pairs) / count,
        rouge_l=math.fsum(rouge_l(prediction, gold) for prediction, gold in pairs) / count,
        example_losses=tuple(row.nats / row.tokens for row in judged),
        answers=tuple(row.answer for row in judged),
        generation_s=math.fsum(row.generation_s for row in judged),
    )
