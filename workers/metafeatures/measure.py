"""Measuring a task: with a base model in full, without one what its rows tell."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from orchestrator.contracts import InputError, TrainingSettings
from workers.metafeatures.names import SHORT_ANSWER_TOKENS
from workers.metafeatures.text import mean, percentile, text_features, word_features
from workers.tasks.records import Task

if TYPE_CHECKING:
    from workers.models.base import BaseModel
    from workers.training.encoding import EncodedTask

_P95 = 0.95
_SMALL_PARAMETERS = 1e8
"""Weights below which a model on a CPU is measured with one thread. The embedded one is many times slower
with two; and what is measured has the bits that a sweep's workers, of one thread each, would give it."""


def measure(
    task: Task, *, base: "BaseModel | None" = None, settings: TrainingSettings | None = None
) -> dict[str, float]:
    """Measure a task.

    Args:
        task: The task.
        base: The unquantised base model; None: lengths are in words, and what needs a model is left out.
        settings: Caps on lengths, examples and generated tokens; None: the settings' own.

    Returns:
        Names of ``FEATURES`` to finite numbers. A task that the base model can't be measured on is refused.
    """
    settings = settings or TrainingSettings(horizon_epochs=1)
    if base is None:
        return text_features(task, settings) | word_features(task)
    from workers.training.encoding import encode_for

    encoded = encode_for(base, task, max_length_tokens=settings.max_length_tokens)
    return measure_encoded(task, encoded, base, settings)


def measure_encoded(
    task: Task, encoded: "EncodedTask", base: "BaseModel", settings: TrainingSettings
) -> dict[str, float]:
    """Measure a task whose tokens are at hand; see ``measure``.

    Args:
        task: The task.
        encoded: Its tokens, by the base model's tokenizer.
        base: The unquantised base model.
        settings: Caps on examples and generated tokens.

    Returns:
        Names of ``FEATURES`` to finite numbers.

    Raises:
        InputError: The base model's loss on this task, or its gradient, is not finite.
    """
    from workers.metafeatures.probes import probe

    measured = text_features(task, settings) | _token_features(encoded) | _model_features(base)
    with _one_thread_if(base.device.type == "cpu" and measured["model_parameters"] < _SMALL_PARAMETERS):
        measured |= probe(task, encoded, base, settings)
    broken = [name for name, value in measured.items() if not math.isfinite(value)]
    if broken:
        raise InputError(
            f"task {task.name} can't be measured with base model {base.name}: {', '.join(broken)} is not a "
            "finite number; use another compute_dtype or base model"
        )
    return measured


def _token_features(encoded: "EncodedTask") -> dict[str, float]:
    prompts = [example.prompt_tokens for example in encoded.train]
    answers = [len(example.answer_tokens) for example in encoded.train]
    return {
        "train_prompt_tokens": float(sum(prompts)),
        "train_answer_tokens": float(sum(answers)),
        "prompt_tokens_mean": mean(prompts),
        "prompt_tokens_p95": percentile(prompts, _P95),
        "answer_tokens_mean": mean(answers),
        "answer_tokens_p95": percentile(answers, _P95),
        "answer_prompt_ratio": sum(answers) / sum(prompts),
        "short_answers_share": sum(count - 1 <= SHORT_ANSWER_TOKENS for count in answers) / len(answers),
    }


def _model_features(base: "BaseModel") -> dict[str, float]:
    import torch

    from workers.models.facts import ModelFacts

    facts = ModelFacts.of(base.location)
    dtype: torch.dtype = getattr(torch, base.dtype)
    return {
        "model_parameters": float(facts.parameters),
        "model_hidden_size": float(facts.hidden_size),
        "model_layers": float(facts.layers + facts.encoder_layers),
        "model_weight_bits": 8.0 * dtype.itemsize,
        "device_is_gpu": float(base.device.type == "cuda"),
    }


@contextmanager
def _one_thread_if(is_wanted: bool) -> Iterator[None]:
    """Let torch use one CPU thread in this thread, or as many as it does."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1 if is_wanted else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
