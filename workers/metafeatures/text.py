"""What the rows say by themselves: how many, how long in words, how repetitive, how consistent. No torch."""

import math
import zlib
from collections import Counter
from collections.abc import Sequence

from orchestrator.contracts import InputError, TrainingSettings
from workers.metafeatures.answers import answer_features
from workers.metafeatures.duplicates import near_duplicates_share
from workers.metafeatures.names import REFERENCE_BATCH
from workers.metafeatures.samples import chosen_by_content
from workers.metrics import normalise_answer
from workers.tasks.records import Example, Task

DUPLICATE_EXAMPLES = 4096
"""Training examples at most that are searched for near-duplicates."""


def text_features(task: Task, settings: TrainingSettings) -> dict[str, float]:
    """Measure what needs no model.

    Args:
        task: The task.
        settings: How long an epoch is.

    Returns:
        Names of ``FEATURES`` to numbers: those that are always measured.

    Raises:
        InputError: There are no training examples.
    """
    train = task.train
    if not train:
        raise InputError(f"task {task.name} has no training examples to be measured on")
    by_fact: dict[tuple[str, str], Counter[str]] = {}
    for example in train:
        by_fact.setdefault(_fact(example), Counter())[normalise_answer(example.answer)] += 1
    agreeing = sum(max(answers.values()) for answers in by_fact.values())
    searched = [train[index] for index in chosen_by_content(train, DUPLICATE_EXAMPLES)]
    return {
        "train_examples": float(len(train)),
        "validation_examples": float(len(task.validation)),
        "test_examples": float(len(task.test)),
        "steps_per_epoch": float(math.ceil((settings.examples_per_epoch or len(train)) / REFERENCE_BATCH)),
        "wordings_per_fact": len(train) / len(by_fact),
        "compression_ratio": _compression_ratio(train),
        "near_duplicates_share": near_duplicates_share([_text(example) for example in searched]),
        "answer_overlap": mean([_overlap(example) for example in train]),
        "answer_disagreement": 1.0 - agreeing / len(train),
    } | answer_features([example.answer for example in train])


def word_features(task: Task) -> dict[str, float]:
    """Measure lengths in words, for want of a tokenizer."""
    return {
        "prompt_words_mean": mean([len(_prompt(example).split()) for example in task.train]),
        "answer_words_mean": mean([len(example.answer.split()) for example in task.train]),
    }


def mean(values: Sequence[float]) -> float:
    """Return the mean, the same to the last bit in whatever order the values come."""
    return math.fsum(values) / len(values)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of the values does not exceed."""
    return float(sorted(values)[math.ceil(share * len(values)) - 1])


def _fact(example: Example) -> tuple[str, str]:
    """Return what an example words: its fact, or else what is asked, but for case and space."""
    if example.fact is not None:
        return "fact", example.fact
    return "question", " ".join(_prompt(example).casefold().split())


def _prompt(example: Example) -> str:
    """Return the question, behind what was said before it."""
    return "\n".join([*(said for _, said in example.context), example.question])


def _text(example: Example) -> str:
    return f"{_prompt(example)}\t{example.answer}"


def _compression_ratio(examples: Sequence[Example]) -> float:
    text = "\n".join(sorted(map(_text, examples))).encode()
    return len(zlib.compress(text, level=6)) / len(text)


def _overlap(example: Example) -> float:
    """Return the share of the answer's words that the prompt holds; an answer without words shares none."""
    words = normalise_answer(example.answer).split()
    asked = set(normalise_answer(_prompt(example)).split())
    return sum(word in asked for word in words) / len(words) if words else 0.0
