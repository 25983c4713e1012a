"""Answering from the saved states of a root, without Ray; whoever learns is somebody else.

Lifetime: made by an actor, dies with it; holds nothing that is not on disk but the answers it remembers.
"""

import json
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.contracts import OrchestrationError
from surrogates.serving.questions import ERRORS, PLAN, checked, encode_answer, key_of
from surrogates.serving.saved import SavedState, SavedStateError, load, state_folder, versions

ELSEWHERE = "elsewhere"
"""Kind of the answer to a question that takes a fit, or that finds nothing to answer from: to be put to
``recommend_leaving_out`` of whoever learns."""
_MOST_ANSWERS = 1024
"""Answers that are kept, of the state in service only; about 10 kB each. The oldest goes first."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class InService:
    """What answers, swapped as a whole."""

    version: int
    state: SavedState
    task_ids: frozenset[str]
    answers: OrderedDict[str, bytes]


class Answering:
    """Answers from one saved state at a time. One thread at a time may ``recommend``; any may take a state.

    Args:
        states: Where a root's states lie side by side.
        settled: Called after a state was taken into service.
    """

    def __init__(self, states: Path, *, settled: Callable[[], object] = lambda: None) -> None:
        self._states, self._settled = states, settled
        self._taking = threading.Lock()
        self.current: InService | None = None
        self.refused: list[str] = []
        """States that could not be used, and why."""

    @property
    def version(self) -> int:
        """Of the state in service; 0 where there is none."""
        return 0 if self.current is None else self.current.version

    def take(self, version: int) -> None:
        """Answer from a state, unless it does already.

        Args:
            version: Of the state.

        Raises:
            SavedStateError: It can't be used; what answered before still does.
        """
        with self._taking:
            if version != self.version:
                self._take(version)

    def take_newest(self) -> int:
        """Answer from the newest state that can be used, if there is a newer one; returns its version."""
        with self._taking:
            for version in reversed(versions(self._states)):
                if version <= self.version:
                    break
                try:
                    self._take(version)
                except SavedStateError as err:
                    logger.warning("saved state not used states=%s reason=%s", self._states, err)
                    if str(err) not in self.refused:
                        self.refused.append(str(err))
                else:
                    break
            return self.version

    def recommend(
        self, asked: Mapping[str, Any], *, at_least: int = 0, leaving_out: bool = False
    ) -> tuple[str, bytes]:
        """Answer a question.

        Args:
            asked: As ``questions.question`` puts it together.
            at_least: A version that the caller has had an answer from: an older state does not answer if
                that one, or a newer, can be taken now.
            leaving_out: Whether a task that was learned from may be left out here, by a fit.

        Returns:
            Kind and body for ``questions.decode``, or ``ELSEWHERE`` and nothing.
        """
        if self.version < at_least:
            self.take_newest()
        current = self.current
        if current is None:
            return ELSEWHERE, b""
        try:
            given = checked(asked)
            key = key_of(given)
            found = current.answers.get(key)
            if found is not None:
                return PLAN, found
            if not leaving_out and given.get("task_id") in current.task_ids:
                return ELSEWHERE, b""
            plan = current.state.recommender.plan(given.pop("features"), given.pop("budget_s"), **given)
        except ERRORS as err:
            return packed_error(err)
        body = encode_answer(plan, version=current.version, learned_at=current.state.learned.learned_at)
        current.answers[key] = body
        if len(current.answers) > _MOST_ANSWERS:
            current.answers.popitem(last=False)
        return PLAN, body

    def _take(self, version: int) -> None:
        state = load(state_folder(self._states, version))
        task_ids = frozenset(task.task_id for task in state.recommender.meta.tasks)
        self.current = InService(version, state, task_ids, OrderedDict())
        self._settled()


def packed_error(error: OrchestrationError) -> tuple[str, bytes]:
    """Return an error of a kind that travels as an answer."""
    return type(error).__name__, json.dumps([str(field) for field in error.args]).encode()
