"""A language model that judges answers: a score beside exact match, F1 and ROUGE-L, for free wording.

Off unless a person names an endpoint. A judge's mean is a measurement with another model's errors in it: it
is recorded beside the loss and chooses nothing.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

from orchestrator.contracts import InputError, digest
from workers.endpoint import (
    ChatClient,
    EndpointSettings,
    EndpointUnavailableError,
    Question,
    RequestRefusedError,
    UnusableAnswerError,
    Usage,
    ask,
)
from workers.endpoint.concurrent import run_concurrently
from workers.endpoint.transport import Pause
from workers.prompts import load_prompts

_FIELDS = frozenset({"question", "gold", "answer"})
_MAX_TOKENS = 300
_TRIES = 4
"""Fewer than elsewhere: a trial waits."""
_REMEMBERED = 100_000
"""Verdicts kept in memory: trained models give many an answer again at the next epoch."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeSettings:
    """Which model judges, and how much."""

    url: str
    """Base URL of an OpenAI-compatible endpoint."""
    model: str
    api_key_env: str | None = None
    """Environment variable, on the worker, that holds the endpoint's key; None: no key is sent."""
    max_examples: int | None = None
    """Only the first so many of each split are judged; None: all that are answered."""
    concurrency: int = 4
    timeout_s: float = 60.0

    def __post_init__(self) -> None:
        if self.max_examples is not None and self.max_examples < 1:
            raise InputError(f"max_examples of the judge must be at least 1, got {self.max_examples}")
        object.__setattr__(self, "url", self.endpoint().url)

    def endpoint(self) -> EndpointSettings:
        """Return how the endpoint is asked.

        Returns:
            The settings; the seed is the same for every question of every trial.

        Raises:
            InputError: A value can't be; the text says which.
        """
        return EndpointSettings(
            url=self.url,
            model=self.model,
            api_key_env=self.api_key_env,
            concurrency=self.concurrency,
            timeout_s=self.timeout_s,
            tries=_TRIES,
        )


@dataclass(frozen=True, slots=True)
class JudgedItem:
    """An answer to be judged."""

    question: str
    gold: str
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a judge makes of some answers."""

    mean: float | None
    """Mean score of those judged, in [0, 1], to be maximised; None if none was."""
    judged: int
    """Answers with a verdict, also those known without a question: the gold one itself, or judged before."""
    failed: int
    """Answers without one; they are in no mean."""
    seconds: float
    """Wall time of the whole."""
    prompt_tokens: int
    completion_tokens: int


class _Verdict(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: str
    verdict: Literal["correct", "partial", "incorrect"]


_SCORES = {"correct": 1.0, "partial": 0.5, "incorrect": 0.0}


class Judge:
    """Scores answers by asking a model; keeps its verdicts as long as it lives.

    Args:
        settings: Which model, and how much.
        pause: How to wait before a request is sent again; None: always to the end.

    Raises:
        InputError: The settings name a key that is not there.
    """

    def __init__(self, settings: JudgeSettings, *, pause: Pause | None = None) -> None:
        self._settings = settings
        self._client = ChatClient(settings.endpoint(), pause=pause)
        self._prompt = load_prompts({"judge": _FIELDS})["judge"]
        self._known: dict[str, float] = {}

    def check(self) -> None:
        """Refuse a judge that can't be asked, by judging one answer; to be called before a sweep begins.

        Raises:
            InputError: The endpoint is not there, does not take the key or does not have the model; or the
                model gives no verdict.
        """
        self._client.check()
        item = JudgedItem("What colour is a cloudless sky by day?", "blue", "It is blue.")
        try:
            self._ask(item)
        except (EndpointUnavailableError, RequestRefusedError, UnusableAnswerError) as error:
            raise InputError(f"model {self._settings.model!r} can't be the judge: {error}") from error

    def score(self, items: Sequence[JudgedItem], *, beat: Callable[[], None] = lambda: None) -> Judgement:
        """Judge answers.

        An answer that is the gold answer, letter for letter, is right without a question. One that gets no
        verdict counts as failed. So do all others once the endpoint is gone: a trial does not wait for it
        answer by answer.

        Args:
            items: One split's; the first ``max_examples`` count.
            beat: Called several times a second while waiting.

        Returns:
            The mean and what it rests on; nothing that an endpoint does is raised.
        """
        start_s = time.monotonic()
        chosen = items[: self._settings.max_examples]
        scores = {
            index: score for index, item in enumerate(chosen) if (score := self._recall(item)) is not None
        }
        # Each different answer is asked about once.
        places: dict[JudgedItem, list[int]] = {}
        for index, item in enumerate(chosen):
            if index not in scores:
                places.setdefault(item, []).append(index)
        asked = list(places)
        is_gone = threading.Event()
        usage = Usage()
        for number, (score, cost) in run_concurrently(
            lambda item: self._try(item, is_gone), asked, concurrency=self._settings.concurrency, tick=beat
        ):
            usage += cost
            if score is not None:
                self._remember(asked[number], score)
                scores.update(dict.fromkeys(places[asked[number]], score))
        return Judgement(
            mean=math.fsum(scores.values()) / len(scores) if scores else None,
            judged=len(scores),
            failed=len(chosen) - len(scores),
            seconds=time.monotonic() - start_s,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
        )

    def _try(self, item: JudgedItem, is_gone: threading.Event) -> tuple[float | None, Usage]:
        """Ask about one answer; None where there is no verdict."""
        if is_gone.is_set():
            return None, Usage()
        try:
            return self._ask(item)
        except UnusableAnswerError as error:
            logger.info("no verdict reason=%s", error)
            return None, error.usage
        except RequestRefusedError as error:
            logger.info("no verdict reason=%s", error)
        except (EndpointUnavailableError, InputError) as error:
            is_gone.set()
            logger.warning("the judge is gone; the rest of the split stays unjudged reason=%s", error)
        return None, Usage()

    def _ask(self, item: JudgedItem) -> tuple[float, Usage]:
        messages = self._prompt.fill(question=item.question, gold=item.gold, answer=item.answer)
        answer = ask(self._client, Question(messages=messages, shape=_Verdict, max_tokens=_MAX_TOKENS))
        return _SCORES[answer.value.verdict], answer.usage

    def _recall(self, item: JudgedItem) -> float | None:
        if item.answer.strip() == item.gold.strip():
            return 1.0
        return self._known.get(_key(item))

    def _remember(self, item: JudgedItem, score: float) -> None:
        while len(self._known) >= _REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[_key(item)] = score


def _key(item: JudgedItem) -> str:
    return digest([item.question, item.gold, item.answer])
