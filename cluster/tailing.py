"""A job's log as it grows, over a websocket that a thread of its own listens to.

Owned by who follows the log; ends with it. The thread leaves the caller's own thread free to have an event
loop running (a notebook), to be interrupted, and to notice when nothing comes.
"""

import asyncio
import logging
import queue
import threading
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Protocol, Self

import aiohttp

logger = logging.getLogger(__name__)


class Tailed(Protocol):
    """What hands out a job's log, from its beginning."""

    def tail_job_logs(self, job_id: str) -> AsyncIterator[str]:
        """Yield the log's pieces until the job has ended."""


class LogTail:
    """One connection's worth of a job's log; a context manager.

    Args:
        client: Of the job server.
        job_id: The job.
    """

    def __init__(self, client: Tailed, job_id: str) -> None:
        self._client = client
        self._job_id = job_id
        self._pieces: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._listen, name=f"log of {job_id}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._cancel)
        self._thread.join()
        self._loop.close()

    def pieces(self, *, silence_s: float) -> Iterator[str]:
        """Yield the log's pieces until the connection ends, for whatever reason.

        Args:
            silence_s: The connection counts as dead when nothing came for so long.

        Yields:
            One line or several.
        """
        while True:
            try:
                piece = self._pieces.get(timeout=silence_s)
            except queue.Empty:
                return
            if piece is None:
                return
            yield piece

    def _listen(self) -> None:
        self._task = self._loop.create_task(self._pass_on())
        try:
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            pass
        except (aiohttp.ClientError, OSError, RuntimeError) as err:
            logger.info("log connection lost job=%s reason=%s", self._job_id, err)
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._pieces.put(None)

    async def _pass_on(self) -> None:
        async for piece in self._client.tail_job_logs(self._job_id):
            self._pieces.put(piece)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
