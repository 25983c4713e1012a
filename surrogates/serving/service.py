"""What the surrogate actor does, without Ray: keeps a root's recommender warm, answers in plain values.

Lifetime: made by the actor, dies with it. What was learned outlives both: it stands on disk, beside what it
was learned from, and the next service answers from it at once.
"""

import json
import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestrator.contracts import Config, CorruptLedgerError, NothingLearnedError, OrchestrationError
from orchestrator.metadataset.layout import RootLayout
from surrogates.serving.questions import ERRORS, KINDS, PLAN, checked, encode_answer, key_of
from surrogates.serving.refit import Refit, RefitFailedError, Refitted, refit_aside
from surrogates.serving.saved import SavedState, SavedStateError, drop_old, load, state_folder, versions
from surrogates.serving.sources import count_rows

ELSEWHERE = "elsewhere"
"""Kind of the answer to a question that takes a fit: to be put to ``recommend_leaving_out``."""
_MOST_ANSWERS = 1024
"""Answers that are kept, of the state in service only; about 10 kB each. The oldest goes first."""
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


@dataclass(frozen=True, slots=True)
class _Current:
    """What answers, swapped as a whole."""

    version: int
    state: SavedState
    task_ids: frozenset[str]
    answers: OrderedDict[str, bytes]


class SurrogateService:
    """Answers for one root. One thread at a time may ``recommend``, and beside it one may learn.

    Args:
        root: A sweep's root or a folder of tables. If there is nothing to learn from yet, every answer says
            so until a refresh finds something.
        following: When ``follow`` finds growth worth it.
        refit: What learns; by default another process.
    """

    def __init__(self, root: str, *, following: Following | None = None, refit: Refit = refit_aside) -> None:
        self._root, self._refit = Path(root), refit
        self._following = following or Following()
        self._states = RootLayout(self._root).surrogate_dir
        self._current: _Current | None = None
        self._error: OrchestrationError | None = None
        self._last: Refitted | None = None
        self._refused_states: list[str] = []
        self._looked_at = 0
        self._ended_s = -float("inf")
        self._refreshing = threading.Lock()
        self._take_saved()
        if self._current is None:
            self.refresh()

    def recommend(self, asked: Mapping[str, Any]) -> tuple[str, bytes]:
        """Answer a question.

        Args:
            asked: As ``questions.question`` puts it together.

        Returns:
            Kind and body for ``questions.decode``; or ``ELSEWHERE`` and nothing, if the question is about a
            task that was learned from, and has not been answered yet.
        """
        return self._answer(asked, leaving_out=False)

    def recommend_leaving_out(self, asked: Mapping[str, Any]) -> tuple[str, bytes]:
        """Answer a question about any task, also one whose own results must be left out, by a fit."""
        return self._answer(asked, leaving_out=True)

    def candidates(self) -> list[Config]:
        """Return the configs that are chosen from where a question names none."""
        current = self._current
        return [] if current is None else [dict(config) for config in current.state.recommender.pool.configs]

    def info(self) -> dict[str, Any]:
        """Return what answers, what it was learned from, and how the last learning ended; plain values."""
        current, last = self._current, self._last
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
            "refused_states": list(self._refused_states),
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
            current = self._current
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

    def _answer(self, asked: Mapping[str, Any], *, leaving_out: bool) -> tuple[str, bytes]:
        current = self._current
        try:
            if current is None:
                raise (
                    self._error if isinstance(self._error, ERRORS) else NothingLearnedError(str(self._error))
                )
            given = checked(asked)
            key = key_of(given)
            found = current.answers.get(key)
            if found is not None:
                return PLAN, found
            if not leaving_out and given.get("task_id") in current.task_ids:
                return ELSEWHERE, b""
            arguments = dict(given)
            plan = current.state.recommender.plan(
                arguments.pop("features"), arguments.pop("budget_s"), **arguments
            )
        except ERRORS as err:
            return type(err).__name__, json.dumps([str(field) for field in err.args]).encode()
        body = encode_answer(plan, version=current.version, learned_at=current.state.learned.learned_at)
        current.answers[key] = body
        if len(current.answers) > _MOST_ANSWERS:
            current.answers.popitem(last=False)
        return PLAN, body

    def _take_saved(self) -> None:
        """Answer from the newest state on disk that can be used."""
        for version in reversed(versions(self._states)):
            try:
                self._put_in_service(version)
            except SavedStateError as err:
                logger.warning("saved state not used root=%s reason=%s", self._root, err)
                self._refused_states.append(str(err))
            else:
                return

    def _take(self, refitted: Refitted) -> None:
        self._last = refitted
        self._looked_at = refitted.rows
        if refitted.version is None:
            logger.warning("surrogate kept root=%s reason=%s", self._root, refitted.verdict.reason)
            return
        self._put_in_service(refitted.version)
        drop_old(self._states)

    def _put_in_service(self, version: int) -> None:
        state = load(state_folder(self._states, version))
        task_ids = frozenset(task.task_id for task in state.recommender.meta.tasks)
        self._current = _Current(version, state, task_ids, OrderedDict())
        self._looked_at = state.learned.rows


def raise_error(error: Mapping[str, Any]) -> None:
    """Raise the error that ``info`` holds, as the class it was."""
    raise KINDS[error["kind"]](*error["fields"])


def _named(error: OrchestrationError) -> dict[str, Any]:
    """Return an error as ``raise_error`` takes it; of kinds that do not travel, what they say."""
    if isinstance(error, ERRORS):
        return {"kind": type(error).__name__, "fields": [str(field) for field in error.args]}
    return {"kind": NothingLearnedError.__name__, "fields": [str(error)]}
