"""Asking many questions: what the journal knows is not asked, what is answered is in the journal at once."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from orchestrator.contracts import InputError, OrchestrationError
from workers.documents.journal import Journal, JournalEntry
from workers.documents.rejects import Reason
from workers.endpoint import ChatClient, Question, RequestRefusedError, UnusableAnswerError, Usage, ask
from workers.endpoint.concurrent import run_concurrently

Shape = TypeVar("Shape", bound=BaseModel)


class AskingStoppedError(OrchestrationError):
    """Someone asked to stop; what was answered is in the journal."""


@dataclass(frozen=True, slots=True)
class Unanswered:
    """There is no answer to a question."""

    reason: Reason
    detail: str


@dataclass(slots=True)
class Progress:
    """How far the asking is; changes while it goes on."""

    stage: str = ""
    done: int = 0
    """Questions of this stage that are answered, or without hope of it."""
    total: int = 0
    usage: Usage = field(default_factory=Usage)
    """What all answers used have cost, also those that the journal had."""
    usage_now: Usage = field(default_factory=Usage)
    """What was asked by this object."""


class Asker:
    """Answers questions out of the journal, and asks a model for the rest.

    Args:
        client: Of the model.
        journal: Where its answers are kept.
        stop: Once set, no more is asked, and what is under way is waited for.
        tick: Called when something has come, and several times a second while nothing does; what it raises
            ends the waiting at once.
    """

    def __init__(
        self,
        client: ChatClient,
        journal: Journal,
        *,
        stop: threading.Event,
        tick: Callable[[], None] = lambda: None,
    ) -> None:
        self._client = client
        self._journal = journal
        self._stop = stop
        self._tick = tick
        self._paid: set[str] = set()
        """Questions whose cost is in the progress."""
        self.progress = Progress()

    def ask_all(self, stage: str, questions: Sequence[Question[Shape]]) -> list[Shape | Unanswered]:
        """Answer questions.

        Args:
            stage: What they are about, for the display.
            questions: May hold the same one twice; it is asked once.

        Returns:
            The answer to each, or why there is none.

        Raises:
            AskingStoppedError: Someone asked to stop before all were asked.
            EndpointUnavailableError: The server does not answer any more.
            InputError: It takes no request, or not the key or the model; or the journal is damaged.
        """
        if not questions:
            return []
        settings = self._client.settings
        keys = [question.key(settings.model, settings.seed) for question in questions]
        by_key = dict(zip(keys, questions, strict=True))
        entries: dict[str, JournalEntry | Unanswered] = {}
        for key in by_key:
            known = self._journal.read(key)
            if known is not None:
                entries[key] = known
                self._pay(key, known.usage)
        self.progress.stage, self.progress.done, self.progress.total = stage, len(entries), len(by_key)
        self._tick()
        new = [(key, question) for key, question in by_key.items() if key not in entries]
        for index, entry in run_concurrently(
            self._ask, new, concurrency=settings.concurrency, stop=self._stop, tick=self._tick
        ):
            entries[new[index][0]] = entry
            if isinstance(entry, JournalEntry):
                self._pay(new[index][0], entry.usage)
                self.progress.usage_now += entry.usage
            self.progress.done += 1
            self._tick()
        if len(entries) < len(by_key):
            raise AskingStoppedError("stopped before all questions were asked")
        self._refuse_if_nothing_is_answered(list(entries.values()))
        return [_read(entries[key], question.shape) for key, question in zip(keys, questions, strict=True)]

    def _pay(self, key: str, usage: Usage) -> None:
        if key not in self._paid:
            self._paid.add(key)
            self.progress.usage += usage

    def _ask(self, item: tuple[str, Question[Shape]]) -> JournalEntry | Unanswered:
        key, question = item
        model = self._client.settings.model
        try:
            answer = ask(self._client, question)
        except RequestRefusedError as error:
            return Unanswered(Reason.REFUSED, str(error))
        except UnusableAnswerError as error:
            entry = JournalEntry(model=model, content=None, reason=error.reason, usage=error.usage)
        else:
            content = answer.value.model_dump(mode="json")
            entry = JournalEntry(model=model, content=content, reason=None, usage=answer.usage)
        self._journal.write(key, entry)
        return entry

    def _refuse_if_nothing_is_answered(self, entries: Sequence[JournalEntry | Unanswered]) -> None:
        """Refuse to go on with an endpoint that has taken nothing; one refusal of many is that request's."""
        if entries and self.progress.usage.requests == 0:
            details = [entry.detail for entry in entries if isinstance(entry, Unanswered)]
            raise InputError(f"none of {len(entries)} requests was taken: {details[0]}")


def _read(entry: JournalEntry | Unanswered, shape: type[Shape]) -> Shape | Unanswered:
    if isinstance(entry, Unanswered):
        return entry
    if entry.content is None:
        return Unanswered(Reason.UNANSWERED, entry.reason or "")
    try:
        return shape.model_validate(entry.content)
    except ValidationError as error:
        raise InputError(f"an answer in the journal is damaged: {' '.join(str(error).split())}") from error
