"""What the surrogate actor does, without Ray: keeps a root's recommender warm, answers in plain values.

Lifetime: made by the actor, dies with it. What was learned outlives both: it stands on disk, beside what it
was learned from, and the next service answers from it at once.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestrator.contracts import Config, CorruptLedgerError, NothingLearnedError, OrchestrationError
from orchestrator.metadataset.layout import RootLayout
from surrogates.serving.answering import Answering, packed_error
from surrogates.serving.questions import ERRORS, KINDS
from surrogates.serving.refit import Refit, RefitFailedError, Refitted, refit_aside
from surrogates.serving.saved import SavedStateError, drop_old
from surrogates.serving.sources import count_rows

_REFIT_ERRORS: tuple[type[OrchestrationError], ...] = (*ERRORS, SavedStateError, RefitFailedError)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """When a growing root is learned from again."""

    every_s: float = 5.0
    """Between two looks at the root."""
    growth: float = 0.1
    """Share of new rows that is worth it."""
    apart_s: float = 30.0
    """At least, from the end of one to the start of the next."""


class SurrogateService:
    """Answers for one root. One thread at a time may ``recommend``, and beside it one may learn.

    Args:
        root: A sweep's root or a folder of tables. If there is nothing to learn from yet, every answer says
            so until a refresh finds something.
        following: When ``follow`` finds growth worth it.
        refit: What learns; by default another process.
        announced: Called when a newer state stands on disk, before it answers here.
        settled: Called after a state was taken into service.
    """

    def __init__(
        self,
        root: str,
        *,
        following: Following | None = None,
        refit: Refit = refit_aside,
        announced: Callable[[], object] = lambda: None,
        settled: Callable[[], object] = lambda: None,
    ) -> None:
        self._root, self._refit, self._announced = Path(root), refit, announced
        self._following = following or Following()
        self._states = RootLayout(self._root).surrogate_dir
        self._answering = Answering(self._states, settled=settled)
        self._error: OrchestrationError | None = None
        self._last: Refitted | None = None
        self._looked_at = 0
        self._ended_s = -float("inf")
        self._refreshing = threading.Lock()
        self._answering.take_newest()
        if self._answering.current is None:
            self.refresh()
        else:
            self._looked_at = self._answering.current.state.learned.rows

    def recommend(self, asked: Mapping[str, Any], at_least: int = 0) -> tuple[str, bytes]:
        """Answer a question.

        Args:
            asked: As ``questions.question`` puts it together.
            at_least: A version that the caller has had an answer from.

        Returns:
            Kind and body for ``questions.decode``; or ``ELSEWHERE`` and nothing, if the question is about a
            task that was learned from, and has not been answered yet.
        """
        return self._answer(asked, at_least=at_least, leaving_out=False)

    def recommend_leaving_out(self, asked: Mapping[str, Any], at_least: int = 0) -> tuple[str, bytes]:
        """Answer a question about any task, also one whose own results must be left out, by a fit."""
        return self._answer(asked, at_least=at_least, leaving_out=True)

    def candidates(self) -> list[Config]:
        """Return the configs that are chosen from where a question names none."""
        current = self._answering.current
        return [] if current is None else [dict(config) for config in current.state.recommender.pool.configs]

    def info(self) -> dict[str, Any]:
        """Return what answers, what it was learned from, and how the last learning ended; plain values."""
        current, last = self._answering.current, self._last
        meta = None if current is None else current.state.recommender.meta
        learned = None if current is None else current.state.learned
        return {
            "root": str(self._root),
            "pid": os.getpid(),
            "version": 0 if current is None else current.version,
            "learned_at": None if learned is None else learned.learned_at,
            "fit_s": None if learned is None else learned.fit_s,
            "tasks": 0 if meta is None else len(meta.tasks),
            "trials": 0 if meta is None else len(meta.trials),
            "points": 0 if meta is None else len(meta.points),
            "metric": None if meta is None else meta.metric,
            "base_fingerprints": [] if meta is None else list(meta.base_fingerprints),
            "rows_learned": 0 if learned is None else learned.rows,
            "is_refitting": self._refreshing.locked(),
            "last_refit": None if last is None else asdict(last),
            "refused_states": list(self._answering.refused),
            "following": asdict(self._following),
            "error": None if self._error is None else _named(self._error),
        }

    def refresh(self) -> dict[str, Any]:
        """Learn anew if the root has changed, and swap if that is better; the old answers stay meanwhile.

        Returns:
            What ``info`` says afterwards; its error is set, and the old answers stay, where nothing could be
            learned.
        """
        with self._refreshing:
            current = self._answering.current
            try:
                self._looked_at = count_rows(self._root)
                if current is None or self._looked_at != current.state.learned.rows:
                    self._take(self._refit(self._root, None if current is None else current.version))
                self._error = None
            except _REFIT_ERRORS as err:
                logger.warning("surrogate not refreshed root=%s reason=%s", self._root, err)
                self._error = err
            finally:
                self._ended_s = time.monotonic()
        return self.info()

    def follow(self) -> bool:
        """Learn anew if the root has grown enough since it was looked at last, and long enough ago.

        Returns:
            Whether it was worth trying.
        """
        if time.monotonic() - self._ended_s < self._following.apart_s or self._refreshing.locked():
            return False
        try:
            rows = count_rows(self._root)
        except CorruptLedgerError as err:
            self._error = err
            return False
        if rows < max(self._looked_at + 1, self._looked_at * (1.0 + self._following.growth)):
            return False
        self.refresh()
        return True

    def _answer(self, asked: Mapping[str, Any], *, at_least: int, leaving_out: bool) -> tuple[str, bytes]:
        if self._answering.current is None:
            why = self._error if isinstance(self._error, ERRORS) else NothingLearnedError(str(self._error))
            return packed_error(why)
        return self._answering.recommend(asked, at_least=at_least, leaving_out=leaving_out)

    def _take(self, refitted: Refitted) -> None:
        self._last = refitted
        self._looked_at = refitted.rows
        if refitted.version is None:
            logger.warning("surrogate kept root=%s reason=%s", self._root, refitted.verdict.reason)
            return
        self._announced()
        self._answering.take(refitted.version)
        drop_old(self._states)


def raise_error(error: Mapping[str, Any]) -> None:
    """Raise the error that ``info`` holds, as the class it was."""
    raise KINDS[error["kind"]](*error["fields"])


def _named(error: OrchestrationError) -> dict[str, Any]:
    """Return an error as ``raise_error`` takes it; of kinds that do not travel, what they say."""
    if isinstance(error, ERRORS):
        return {"kind": type(error).__name__, "fields": [str(field) for field in error.args]}
    return {"kind": NothingLearnedError.__name__, "fields": [str(error)]}
