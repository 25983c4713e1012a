"""A task and its examples, in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from orchestrator.contracts import TaskId, digest

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Example:
    """One question with its answer."""

    question: str
    answer: str
    fact: str | None = None
    """Examples that word the same fact share this; one of each fact is shown before any is shown again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a trial finetunes on: three splits of question-answer pairs."""

    name: str
    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    task_id: TaskId = field(init=False)
    """Hash of the rows in their order: the name and where they came from are no part of it."""

    def __post_init__(self) -> None:
        rows = [[(e.question, e.answer, e.fact) for e in self.split(name)] for name in SPLITS]
        object.__setattr__(self, "task_id", TaskId(digest(rows)))

    def split(self, name: str) -> Sequence[Example]:
        """Return the examples of ``train``, ``validation`` or ``test``."""
        if name not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {name!r}")
        examples: tuple[Example, ...] = getattr(self, name)
        return examples
