"""Meta-features: twelve numbers that describe a task, from no search on it. Torch only with a base model.

They depend on the rows and not on their order. Surrogates may learn from as few as seven past tasks, so each
name must earn its place: sizes that decide how often a fact is seen, lengths that decide the cost, what kind
of answers there are, how much the rows repeat or contradict one another, what the base model makes of them.
"""

import math
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from orchestrator.contracts import InputError, TrainingSettings
from workers.metrics import normalise_answer
from workers.tasks.records import Example, Task

if TYPE_CHECKING:
    from workers.models.base import BaseModel
    from workers.training.encoding import EncodedTask

FEATURES: Mapping[str, str] = MappingProxyType(
    {
        "train_examples": "examples of the train split",
        "wordings_per_fact": "training examples for each fact; questions count as facts where none is named",
        "prompt_tokens_mean": "mean tokens of a training prompt, chat marks included",
        "answer_tokens_mean": "mean tokens of a training answer, end mark included",
        "prompt_words_mean": "mean words of a training question; only where no base model is given",
        "answer_words_mean": "mean words of a training answer; only where no base model is given",
        "distinct_answers_share": "different training answers over training examples",
        "compression_ratio": "bytes of the training text, compressed by zlib over plain; lower repeats more",
        "answer_overlap": "mean share of a training answer's words that its question holds",
        "answer_disagreement": "share of training examples whose answer is not their fact's most frequent",
        "zero_shot_loss": "mean nats per answer token of the untrained base model, over validation examples",
        "zero_shot_loss_sd": "standard deviation of that loss between examples, in nats per answer token",
        "zero_shot_exact_match": "share of validation examples that the untrained base model answers right",
        "gradient_norm": "norm of the gradient of the mean nats per answer token, on a fresh default adapter",
    }
)
"""Name to meaning and unit; shares and scores lie in [0, 1]."""


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
    if base is None:
        return _static_features(task) | {
            "prompt_words_mean": _mean([len(example.question.split()) for example in task.train]),
            "answer_words_mean": _mean([len(example.answer.split()) for example in task.train]),
        }
    from workers.training.encoding import encode_task

    settings = settings or TrainingSettings(horizon_epochs=1)
    encoded = encode_task(base.tokenizer, task, max_length_tokens=settings.max_length_tokens)
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
    from workers.probes import probe

    measured = _static_features(task) | {
        "prompt_tokens_mean": _mean([example.prompt_tokens for example in encoded.train]),
        "answer_tokens_mean": _mean([len(example.answer_tokens) for example in encoded.train]),
    }
    measured |= probe(task, encoded, base, settings)
    broken = [name for name, value in measured.items() if not math.isfinite(value)]
    if broken:
        raise InputError(
            f"task {task.name} can't be measured with base model {base.name}: {', '.join(broken)} is not a "
            "finite number; use another compute_dtype or base model"
        )
    return measured


def _static_features(task: Task) -> dict[str, float]:
    """Measure what needs no model, on the train split."""
    train = task.train
    if not train:
        raise InputError(f"task {task.name} has no training examples to be measured on")
    by_fact: dict[tuple[str, str], Counter[str]] = {}
    for example in train:
        by_fact.setdefault(_fact(example), Counter())[normalise_answer(example.answer)] += 1
    agreeing = sum(max(answers.values()) for answers in by_fact.values())
    return {
        "train_examples": float(len(train)),
        "wordings_per_fact": len(train) / len(by_fact),
        "distinct_answers_share": len({example.answer for example in train}) / len(train),
        "compression_ratio": _compression_ratio(train),
        "answer_overlap": _mean([_overlap(example) for example in train]),
        "answer_disagreement": 1.0 - agreeing / len(train),
    }


def _fact(example: Example) -> tuple[str, str]:
    """Return what an example words: its fact, or else its question but for case and space."""
    if example.fact is not None:
        return "fact", example.fact
    return "question", " ".join(example.question.casefold().split())


def _compression_ratio(examples: Sequence[Example]) -> float:
    text = "\n".join(sorted(f"{example.question}\t{example.answer}" for example in examples)).encode()
    return len(zlib.compress(text, level=6)) / len(text)


def _overlap(example: Example) -> float:
    """Return the share of the answer's words that the question holds; an answer without words shares none."""
    words = normalise_answer(example.answer).split()
    asked = set(normalise_answer(example.question).split())
    return sum(word in asked for word in words) / len(words) if words else 0.0


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
