"""The making of a task on the screen: one changing line on a terminal, now and then a line elsewhere."""

import time

from rich.console import Console

from orchestrator.app.progress import PLAIN_EVERY_S, duration
from orchestrator.app.signals import StopEvent
from workers.documents.asking import AskingStoppedError, Progress


class GenerationProgress:
    """Shows how far a model is with its answers.

    Args:
        console: Where to.
        stop: Set by who asks to stop; asking again ends the waiting.
    """

    def __init__(self, console: Console, stop: StopEvent) -> None:
        self._console = console
        self._stop = stop
        self._status = console.status("Asking") if console.is_terminal else None
        if self._status is not None:
            self._status.start()
        self._start_s = self._last_s = time.monotonic()
        self._has_said_stopping = False

    def show(self, progress: Progress) -> None:
        """Show the progress, unless it was shown just before.

        Args:
            progress: Of the asking.

        Raises:
            AskingStoppedError: Someone asked to stop, and then again.
        """
        if self._stop.is_set() and not self._has_said_stopping:
            self._has_said_stopping = True
            self._print("Stopping: the requests under way are waited for; Ctrl-C again stops at once.")
        if self._stop.at_once:
            raise AskingStoppedError("stopped at once")
        now_s = time.monotonic()
        if self._status is not None:
            self._status.update(self._line(progress))
        elif now_s - self._last_s >= PLAIN_EVERY_S:
            self._last_s = now_s
            self._print(self._line(progress))

    def end(self, progress: Progress) -> None:
        """Show the progress for the last time."""
        if self._status is not None:
            self._status.stop()
        self._print(self._line(progress))

    def _line(self, progress: Progress) -> str:
        usage = progress.usage
        return (
            f"{progress.stage}: {progress.done}/{progress.total} answers; in all {usage.requests:,} "
            f"requests, {usage.prompt_tokens:,} + {usage.completion_tokens:,} tokens, "
            f"{duration(time.monotonic() - self._start_s)}"
        )

    def _print(self, line: str) -> None:
        self._console.print(line, highlight=False, soft_wrap=True)
