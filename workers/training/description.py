"""A task's row in the meta-dataset."""

from collections.abc import Callable, Mapping

from orchestrator.contracts import TaskRecord, TrainingSettings
from workers.models.base import BaseModel
from workers.tasks.records import Task
from workers.training.encoding import EncodedTask

Measure = Callable[[Task, EncodedTask, BaseModel, TrainingSettings], Mapping[str, float]]
"""From a task and a base model to meta-features: numbers from no search on the task."""


def task_record(
    task: Task, encoded: EncodedTask, source: str, name: str, base: BaseModel, features: Mapping[str, float]
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
        truncated_prompts=encoded.truncated_prompts,
        truncated_answers=encoded.truncated_answers,
    )
