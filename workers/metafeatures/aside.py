"""Measuring a task in a process of its own: ``python -m workers.metafeatures.aside``.

Loading torch, a base model and a task takes seconds, in which whoever asks can do something else. The process
is given one JSON object as its argument and answers with one line of JSON.
"""

import gc
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from orchestrator.contracts import InputError, OrchestrationError, TrainingSettings

UNNEEDED = ("bitsandbytes", "scipy", "sklearn")
"""Packages that peft and transformers import where they find them, and that measuring an unquantised model
uses nothing of: without them, and without collecting garbage, the process starts a third sooner."""
_TAIL = 2000
"""Letters of a failed process's last words that are told."""


class MeasuringFailedError(OrchestrationError):
    """The process that measured a task died without an answer; nothing is known of the task."""

    def __init__(self, task_source: str, exit_code: int, last_words: str) -> None:
        super().__init__(task_source, exit_code, last_words)
        self.task_source, self.exit_code, self.last_words = task_source, exit_code, last_words

    def __str__(self) -> str:
        return (
            f"measuring {self.task_source} ended with exit code {self.exit_code}; the last it said: "
            f"{self.last_words}"
        )


@contextmanager
def measuring_aside(
    task_source: str, base_model: str, settings: TrainingSettings
) -> Iterator[Callable[[], dict[str, float]]]:
    """Begin to measure a task; leaving ends the process if it has not ended.

    Args:
        task_source: As in a sweep's ``tasks``; a relative path is of the working directory.
        base_model: As in a sweep.
        settings: Of the sweep.

    Yields:
        What waits for the meta-features and returns them, as ``FeatureCache.measure`` does. It raises
        ``InputError`` where the task or the base model can't be used, ``MeasuringFailedError`` where the
        process died.
    """
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    asked = {"task_source": task_source, "base_model": base_model, "settings": asdict(settings)}
    # Into a file: a full pipe that nobody reads yet would hold the process up.
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, json.dumps(asked)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment,
        )

        def wait() -> dict[str, float]:
            said, _ = process.communicate()
            if process.returncode != 0:
                errors.seek(0)
                last_words = errors.read()[-_TAIL:].strip() or "nothing"
                raise MeasuringFailedError(task_source, process.returncode, last_words)
            answered = json.loads(said.splitlines()[-1])
            if "problems" in answered:
                raise InputError(*answered["problems"])
            features: dict[str, float] = answered["features"]
            return features

        with process:
            try:
                yield wait
            finally:
                process.kill()
                process.wait()  # leaving by Ctrl-C would wait for a quarter of a second only


def answer(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Measure a task.

    Args:
        asked: Task, base model and settings, as ``measuring_aside`` sends them.

    Returns:
        ``features``, or ``problems`` of the input.
    """
    from workers.metafeatures.cache import FeatureCache
    from workers.metafeatures.probes import probe  # noqa: F401  # the rest of what is heavy to import
    from workers.models.base import load_base
    from workers.tasks.loading import load_task

    gc.freeze()  # what has been imported stays; what comes is collected again
    gc.enable()
    settings = TrainingSettings(**asked["settings"])
    try:
        task = load_task(asked["task_source"])
        base = load_base(asked["base_model"], dtype=settings.compute_dtype)
        return {"features": FeatureCache().measure(task, base, settings)}
    except InputError as err:
        return {"problems": list(err.problems)}


def _start_fast() -> None:
    """Leave aside what a short life has no use for; for this process only."""
    gc.disable()
    for name in UNNEEDED:
        sys.modules[name] = None  # type: ignore[assignment]  # Python's way to say that it can't be imported


if __name__ == "__main__":
    _start_fast()
    sys.stdout.write("\n" + json.dumps(answer(json.loads(sys.argv[1]))) + "\n")
