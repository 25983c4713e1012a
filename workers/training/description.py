"""A task's row: its sizes, its lengths, and what the base model makes of it untrained."""

import math
from collections.abc import Callable, Mapping, Sequence

from orchestrator.contracts import TaskRecord, TrainingSettings
from workers.models.base import BaseModel
from workers.tasks.records import Task
from workers.training.encoding import EncodedTask
from workers.training.evaluation import evaluate_split

Measure = Callable[[Task, EncodedTask, BaseModel, TrainingSettings], Mapping[str, float]]
"""From a task and a base model to meta-features: numbers from no search on the task."""


def zero_shot_features(
    task: Task, encoded: EncodedTask, base: BaseModel, settings: TrainingSettings
) -> dict[str, float]:
    """Measure a task's sizes and lengths, and the untrained base model on its validation split.

    Args:
        task: The task.
        encoded: Its tokens, by the base model's tokenizer.
        base: The base model.
        settings: Caps on examples and on generated tokens.

    Returns:
        Name to value; lengths in tokens, losses in nats per answer token, scores in [0, 1].
    """
    answers = [float(len(example.answer_tokens)) for example in encoded.train]
    prompts = [float(example.prompt_tokens) for example in encoded.train]
    zero_shot = evaluate_split(base.model, base.tokenizer, encoded.validation, settings)
    facts = {(True, number) if fact is None else (False, fact) for number, fact in enumerate(encoded.facts)}
    return {
        "train_examples": float(len(encoded.train)),
        "facts": float(len(facts)),
        "distinct_answers": float(len({example.answer for example in task.train})),
        "prompt_tokens_mean": _mean(prompts),
        "prompt_tokens_sd": _sd(prompts),
        "answer_tokens_mean": _mean(answers),
        "answer_tokens_sd": _sd(answers),
        "answer_tokens_max": max(answers),
        "zero_shot_loss": zero_shot.loss,
        "zero_shot_loss_sd": _sd(zero_shot.example_losses),
        "zero_shot_exact_match": zero_shot.exact_match,
        "zero_shot_token_f1": zero_shot.token_f1,
    }


def task_record(
    task: Task, source: str, name: str, base: BaseModel, features: Mapping[str, float]
) -> TaskRecord:
    """Put a task's row together."""
    return TaskRecord(
        task_id=task.task_id,
        name=name,
        source=source,
        base_fingerprint=base.fingerprint,
        train_examples=len(task.train),
        eval_examples=len(task.validation),
        test_examples=len(task.test),
        meta_features=features,
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _sd(values: Sequence[float]) -> float:
    middle = _mean(values)
    return math.sqrt(math.fsum((value - middle) ** 2 for value in values) / len(values))
