"""What the surrogate actor does, without Ray: keeps a root's recommender warm, answers in plain values.

Lifetime: made by the actor, dies with it. Nothing is written: after a restart all is learned anew from the
root.
"""

import logging
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.contracts import CorruptLedgerError, InputError, NothingLearnedError, OrchestrationError
from surrogates.metadataset import MetaDataset
from surrogates.recommender import Recommender

_REQUEST = ("features", "budget_s", "candidates", "k", "task_id", "base_fingerprint")
_KINDS: Mapping[str, type[OrchestrationError]] = {
    kind.__name__: kind for kind in (InputError, NothingLearnedError, CorruptLedgerError)
}

logger = logging.getLogger(__name__)


class SurrogateService:
    """Answers for one root; safe to call from several threads.

    Args:
        root: The root's folder. If there is nothing to learn from yet, every answer says so until a refresh
            finds something.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._learned: Recommender | None = None
        self._error: OrchestrationError | None = None
        self._version = 0
        self._fit_s = 0.0
        self._refreshing = threading.Lock()
        self.refresh()

    def recommend(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer a question.

        Args:
            request: ``features`` and ``budget_s``; optionally ``candidates``, ``k``, ``task_id`` and
                ``base_fingerprint``, as ``Recommender.plan`` takes them.

        Returns:
            ``{"plan": Plan.as_dict(), "version": number}``, or ``{"error": ...}`` for ``raise_error``.
        """
        learned, version = self._learned, self._version
        try:
            if learned is None:
                raise self._error or NothingLearnedError(f"nothing has been learned from {self._root} yet")
            wrong = sorted(set(request) - set(_REQUEST)) + sorted({"features", "budget_s"} - set(request))
            if wrong:
                raise InputError(
                    f"a request has {', '.join(_REQUEST)}; unknown or missing: {', '.join(wrong)}"
                )
            arguments = dict(request)
            plan = learned.plan(arguments.pop("features"), arguments.pop("budget_s"), **arguments)
        except tuple(_KINDS.values()) as err:
            return {"error": _packed(err)}
        return {"plan": plan.as_dict(), "version": version}

    def info(self) -> dict[str, Any]:
        """Return root and process id, the version and size of what is learned, the last refresh's error."""
        learned = self._learned
        return {
            "root": self._root,
            "pid": os.getpid(),
            "version": self._version,
            "tasks": len(learned.meta.tasks) if learned else 0,
            "trials": len(learned.meta.trials) if learned else 0,
            "points": len(learned.meta.points) if learned else 0,
            "base_fingerprints": list(learned.meta.base_fingerprints) if learned else [],
            "fit_s": self._fit_s,
            "error": None if self._error is None else _packed(self._error),
        }

    def refresh(self) -> dict[str, Any]:
        """Learn anew from the root and swap when done; what was learned before answers meanwhile.

        Returns:
            What ``info`` says afterwards; its error is set, and the old answers stay, where nothing could be
            learned.
        """
        with self._refreshing:
            start_s = time.monotonic()
            try:
                learned = Recommender.fit(MetaDataset.from_root(Path(self._root)))
            except tuple(_KINDS.values()) as err:
                logger.warning("surrogate not refreshed root=%s reason=%s", self._root, err)
                self._error = err
            else:
                self._fit_s = time.monotonic() - start_s
                self._error = None
                self._learned, self._version = learned, self._version + 1
            return self.info()


def raise_error(error: Mapping[str, Any]) -> None:
    """Raise the error that an answer holds, as the class it was."""
    raise _KINDS[error["kind"]](*error["fields"])


def _packed(error: OrchestrationError) -> dict[str, Any]:
    return {"kind": type(error).__name__, "fields": [str(field) for field in error.args]}
