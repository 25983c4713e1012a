"""A task and its examples, in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from orchestrator.contracts import TaskId, digest

SPLITS = ("train", "validation", "test")

Turn = tuple[str, str]
"""Who speaks (``system``, ``user`` or ``assistant``), and what is said."""


@dataclass(frozen=True, slots=True)
class Example:
    """One question with its answer."""

    question: str
    answer: str
    fact: str | None = None
    """Examples that word the same fact share this; one of each fact is shown before any is shown again."""
    context: tuple[Turn, ...] = ()
    """What was said before the question, the system's turn first; nothing of it is learned."""

    def identity(self) -> tuple[object, ...]:
        """Return what the example is, as plain values; what was said before only where something was."""
        plain = (self.question, self.answer, self.fact)
        return (*plain, self.context) if self.context else plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a trial finetunes on: three splits of question-answer pairs."""

    name: str
    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    revision: str | None = field(default=None, compare=False)
    """Commit of the hub data set that the rows are of; None for other sources, which their rows identify."""
    task_id: TaskId = field(init=False)
    """Hash of the rows in their order: the name and where they came from are no part of it."""

    def __post_init__(self) -> None:
        rows = [[example.identity() for example in self.split(name)] for name in SPLITS]
        object.__setattr__(self, "task_id", TaskId(digest(rows)))

    def split(self, name: str) -> Sequence[Example]:
        """Return the examples of ``train``, ``validation`` or ``test``."""
        if name not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {name!r}")
        examples: tuple[Example, ...] = getattr(self, name)
        return examples
