"""Who answers a question about a root: its actor where one runs, else this process."""

import logging
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from orchestrator.app.endpoints import Endpoint, endpoint_of
from orchestrator.contracts import Config, InputError
from orchestrator.metadataset.layout import RootLayout
from surrogates.serving.questions import Answer
from surrogates.serving.refit import keep, learn
from surrogates.serving.saved import SavedStateError, drop_old, load, state_folder, versions
from surrogates.serving.sources import count_rows

if TYPE_CHECKING:
    from surrogates.serving.client import SurrogateClient

logger = logging.getLogger(__name__)


class Asker(Protocol):
    """Who answers."""

    @property
    def name(self) -> str:
        """Who it is, for people."""
        ...

    def ask(self, asked: Mapping[str, Any]) -> Answer:
        """Answer a question that ``questions.question`` put together."""
        ...

    def candidates(self) -> list[Config]:
        """Return the configs that are chosen from where none are named."""
        ...


class _Here:
    """This process: from what was learned before, if nothing has been added; else it learns, and keeps it."""

    def __init__(self, root: Path) -> None:
        self.name = "this process (no surrogate actor runs for this sweep)"
        states = RootLayout(root).surrogate_dir
        for version in versions(states)[-1:]:
            try:
                state = load(state_folder(states, version))
            except SavedStateError as err:
                logger.info("saved state not used reason=%s", err)
                continue
            if state.learned.rows == count_rows(root):
                self.name = "this process, from what was learned before"
                self._state, self._version = state, version
                return
        self._state = learn(root)
        try:
            self._version = keep(self._state, root)
            drop_old(states)
        except OSError as err:
            logger.info("what was learned is not kept root=%s reason=%s", root, err)
            self._version = 0

    def ask(self, asked: Mapping[str, Any]) -> Answer:
        """Answer here and now."""
        arguments = dict(asked)
        recommender = self._state.recommender
        plan = recommender.plan(arguments.pop("features"), arguments.pop("budget_s"), **arguments)
        return Answer(plan=plan, version=self._version, learned_at=self._state.learned.learned_at)

    def candidates(self) -> list[Config]:
        """Return the configs that are chosen from where none are named."""
        return [dict(config) for config in self._state.recommender.pool.configs]


class _There:
    """The root's actor."""

    def __init__(self, client: "SurrogateClient", endpoint: Endpoint) -> None:
        self.name = f"the surrogate actor at {endpoint.address}"
        self.ask, self.candidates = client.ask, client.candidates


def find_asker(root: Path, connection: ExitStack) -> Asker:
    """Return who answers for a root.

    Args:
        root: A sweep's root or a folder of tables, absolute.
        connection: Takes the connection to Ray, which must be open while the actor is asked.

    Returns:
        The root's actor, if one runs; else this process, which learns first if it must.

    Raises:
        InputError: The root is neither.
        NothingLearnedError: No trial has finished yet.
    """
    endpoint = endpoint_of(root)
    if endpoint is not None and (client := _find_actor(root, endpoint, connection)) is not None:
        return _There(client, endpoint)
    return _Here(root)


def _find_actor(root: Path, endpoint: Endpoint, connection: ExitStack) -> "SurrogateClient | None":
    """Connect to the actor of a root; None if it, or its cluster, is gone."""
    # Importing Ray takes most of a second, and there is no actor to ask where none was started.
    from cluster.connection import connected, is_connected
    from surrogates.serving.client import SurrogateClient

    try:
        if not is_connected():
            connection.enter_context(connected(endpoint.address))
        return SurrogateClient.connect(root)
    except InputError as err:
        logger.info("surrogate actor not reached root=%s reason=%s", root, err)
        return None
