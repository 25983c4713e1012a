"""What the base model makes of a task untrained."""

from orchestrator.contracts import TrainingSettings
from workers.models.base import BaseModel
from workers.tasks.records import Task
from workers.training.encoding import EncodingCache
from workers.training.evaluation import SplitMetrics, evaluate_splits


def zero_shot(task: Task, base: BaseModel, settings: TrainingSettings) -> SplitMetrics:
    """Evaluate the base model on a task's test split, as every trial is.

    Args:
        task: The task.
        base: The unquantised base model.
        settings: Caps on examples and on tokens.

    Returns:
        Loss, scores and answers.
    """
    return zero_shot_splits(task, base, settings)[1]


def zero_shot_splits(
    task: Task, base: BaseModel, settings: TrainingSettings
) -> tuple[SplitMetrics, SplitMetrics]:
    """Evaluate the base model on validation and test as ``zero_shot`` does; return both, in that order."""
    encoded = EncodingCache().get(base, task, max_length_tokens=settings.max_length_tokens)
    validation, test = evaluate_splits(
        base.model, base.tokenizer, [encoded.validation, encoded.test], settings
    )
    return validation, test
