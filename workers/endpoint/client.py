"""A language model behind an endpoint: a chat in, an answer out."""

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from workers.endpoint.dialect import Dialect
from workers.endpoint.errors import RequestRefusedError
from workers.endpoint.records import Completion, EndpointSettings, Message
from workers.endpoint.replies import read_completion
from workers.endpoint.transport import REFUSALS, Pause, Transport

logger = logging.getLogger(__name__)


class ChatClient:
    """Asks one model of one server; may be used by several threads.

    Args:
        settings: Which, and how.
        pause: How to wait before a request is sent again; None: always to the end.

    Raises:
        InputError: The settings name a key that is not there.
    """

    def __init__(self, settings: EndpointSettings, *, pause: Pause | None = None) -> None:
        self.settings = settings
        self._transport = Transport(settings, threading.Event().wait if pause is None else pause)
        self._dialect = Dialect()
        """What the server was last seen to take."""

    def check(self) -> None:
        """Refuse a server that is not there, or does not take the key; asks it for its models, once.

        Raises:
            InputError: No server answers at the URL, or the key is not right.
        """
        self._transport.check()

    def complete(
        self, messages: Sequence[Message], *, schema: Mapping[str, Any], max_tokens: int
    ) -> Completion:
        """Let the model answer.

        Args:
            messages: The chat so far.
            schema: JSON Schema of the answer. The server is asked to hold the model to it; where it can't,
                the schema is shown to the model. Nothing here checks that the answer fits.
            max_tokens: Cap on the answer.

        Returns:
            The answer. Temperature 0 and a seed are asked for, unless the server refuses to hear of them.

        Raises:
            InputError: The server does not take the key or does not have the model.
            RequestRefusedError: The server does not take this request, in any dialect.
            EndpointUnavailableError: It did not answer, however often it was asked, or a pause was given up.
        """
        start_s = time.monotonic()
        dialect = known = self._dialect
        retries = 0
        while True:
            body = dialect.body(
                model=self.settings.model,
                messages=messages,
                schema=schema,
                max_tokens=max_tokens,
                seed=self.settings.seed,
            )
            response, again = self._transport.post(body)
            retries += again
            if response.status_code not in REFUSALS:
                break
            refusal = self._transport.said(response)
            simpler = dialect.without(refusal)
            if simpler is None:
                raise RequestRefusedError(f"{self.settings.url} refused a request ({refusal})")
            dialect = simpler
        if dialect != known:
            logger.info("endpoint takes less than asked for url=%s dialect=%s", self.settings.url, dialect)
            self._dialect = dialect
        return read_completion(response.json(), retries=retries, seconds=time.monotonic() - start_s)
