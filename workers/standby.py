"""A process that is begun before it is known what it will be asked.

Its module reads one line of JSON from standard input and answers with one line on standard output. Whoever
begins it ends it: ``end`` leaves nothing behind, whatever the process is at. If its beginner dies, it reads
the end of its input, and ends too. Imports the standard library only: beginning it costs no time.
"""

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any, Self

_TAIL = 2000
"""Letters of a failed process's last words that are told."""


class Standby:
    """One process, which answers one question; leaving its ``with`` ends it.

    Args:
        module: What it runs, as ``python -m`` takes it.
    """

    def __init__(self, module: str) -> None:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        # Into a file: a full pipe that nobody reads yet would hold the process up.
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  # lives as long as this does
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environment,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.end()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def ask(self, question: Mapping[str, Any]) -> None:
        """Put the question; a process that is dead already is told of by ``answer``.

        Args:
            question: JSON-like values.
        """
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.close()

    def answer(self, *, timeout_s: float | None = None) -> Any:
        """Wait for the answer.

        Args:
            timeout_s: Longest wait, in seconds; a process that has said nothing by then is killed.

        Returns:
            What the process said, as JSON-like values; None if it died without an answer.
        """
        assert self._process.stdout is not None
        if timeout_s is not None and not select.select([self._process.stdout], [], [], timeout_s)[0]:
            self._process.kill()
        said = self._process.stdout.readline()
        return json.loads(said) if said.endswith("\n") else None

    def last_words(self) -> tuple[int, str]:
        """Wait until the process is dead; return its exit code and the end of what it said of its errors."""
        exit_code = self._process.wait()
        self._errors.seek(0)
        return exit_code, self._errors.read()[-_TAIL:].strip() or "nothing"

    def end(self) -> None:
        """Kill the process if it lives, and wait until it is gone; a second time does nothing."""
        process = self._process
        process.kill()
        process.wait()  # leaving by Ctrl-C would wait for a quarter of a second only
        for stream in (process.stdin, process.stdout, self._errors):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):  # what was written and never read is lost
                    stream.close()
