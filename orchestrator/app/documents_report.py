"""What making a task from documents will cost, and what became of it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestrator.app.generate import WrittenTask
from orchestrator.app.progress import duration
from orchestrator.contracts import InputError
from workers.documents.estimates import CHARS_PER_TOKEN, Estimate
from workers.documents.rejects import Stage
from workers.endpoint import Usage

_MOST_UNREAD_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Price:
    """What an endpoint's owner charges, in one currency, for a million tokens."""

    prompt: float
    completion: float

    def __post_init__(self) -> None:
        for price in (self.prompt, self.completion):
            if not 0 <= price < float("inf"):
                raise InputError(f"a price per million tokens must be 0 or more, got {price}")

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return what so many tokens cost."""
        return (self.prompt * prompt_tokens + self.completion * completion_tokens) / 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentsPreview:
    """What would be asked, without asking."""

    documents: int
    unread: tuple[tuple[str, str], ...]
    """Documents that can't be read, and why."""
    ignored_files: int
    """Files that are no documents."""
    facts_per_passage: int
    at_most: Estimate
    money_at_most: float | None
    """In the price's currency; None where none was given."""

    def as_dict(self) -> dict[str, Any]:
        """Return the preview as JSON-like values."""
        return asdict(self)

    def render(self) -> str:
        """Return the preview for people."""
        cost = self.at_most
        money = "" if self.money_at_most is None else f", {self.money_at_most:,.2f} at this price"
        lines = [
            *_reading(self.documents, self.unread, self.ignored_files),
            f"{_count(cost.passages, 'passage')} of {cost.characters:,} characters",
            f"about {cost.requests:,} requests, {cost.prompt_tokens:,} prompt and "
            f"{cost.completion_tokens:,} completion tokens{money},",
            f"if every passage gives {self.facts_per_passage} facts and no pair is rejected, at "
            f"{CHARS_PER_TOKEN} characters a token",
            "Nothing was asked.",
        ]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentsReport:
    """What became of documents."""

    task: WrittenTask | None
    """None if it was stopped before the end."""
    stopped_by: str | None
    """Why there is no task yet; None if there is one."""
    documents: int
    unread: tuple[tuple[str, str], ...]
    ignored_files: int
    passages: int
    rejects: Mapping[str, Mapping[str, int]]
    """Passages, facts and pairs that were rejected: how many for each reason; empty before the end."""
    cost: Usage
    """Of all answers that the task is made from."""
    cost_now: Usage
    """Of those asked for this time."""
    money: float | None
    """Cost in the price's currency; None where none was given, or the endpoint does not tell all tokens."""
    seconds: float
    """Wall time of this time."""
    folder: Path
    """Where answers, facts and rejects lie."""

    @property
    def is_done(self) -> bool:
        """Whether the task is there."""
        return self.task is not None

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON-like values."""
        task = None if self.task is None else self.task.as_dict()
        return asdict(self) | {"task": task, "folder": str(self.folder)}

    def render(self) -> str:
        """Return the report for people."""
        lines = [*_reading(self.documents, self.unread, self.ignored_files), _count(self.passages, "passage")]
        for stage in Stage:
            for reason, count in self.rejects.get(stage.value, {}).items():
                lines.append(f"  rejected: {_count(count, stage.value)}: {reason}")
        lines.append(f"cost: {self._cost()}")
        if self.task is None:
            lines.append(f"Stopped before the end: {self.stopped_by}")
            lines.append(f"The answers so far lie in {self.folder}; the same command continues.")
        else:
            task = self.task
            lines.append(
                f"{_count(task.facts, 'fact')}: {task.train:,} examples to train, "
                f"{task.validation:,} to validate, {task.test:,} to test"
            )
            lines.append(f"Done: the task is {task.path}; its facts and rejects lie in {self.folder}")
        return "\n".join(lines)

    def _cost(self) -> str:
        cost, now = self.cost, self.cost_now
        words = [
            f"{_count(cost.requests, 'request')} ({now.requests:,} of them this time, "
            f"{now.retries:,} sent again)",
            f"{cost.prompt_tokens:,} prompt and {cost.completion_tokens:,} completion tokens",
        ]
        if cost.unreported:
            words.append(f"without those of {cost.unreported:,} answers, which the endpoint does not tell")
        if self.money is not None:
            words.append(f"{self.money:,.2f} at this price")
        words.append(duration(self.seconds))
        return ", ".join(words)


def _reading(documents: int, unread: Sequence[tuple[str, str]], ignored: int) -> list[str]:
    others = f", {_count(ignored, 'file')} of other kinds left alone" if ignored else ""
    lines = [f"{_count(documents, 'document')} read{others}"]
    lines += [f"  unread: {name}: {reason}" for name, reason in unread[:_MOST_UNREAD_SHOWN]]
    if len(unread) > _MOST_UNREAD_SHOWN:
        lines.append(f"  unread: {len(unread) - _MOST_UNREAD_SHOWN:,} more")
    return lines


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"
