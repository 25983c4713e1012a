"""Measuring a task in a process of its own: ``python -m workers.metafeatures.aside``.

Loading torch, a base model and a task takes seconds, in which whoever asks can do something else. The process
can be begun before the task is known: it loads what is heavy, then reads one JSON object from a line of its
standard input and answers with one line of JSON. Where the short way to start does not work, with another
release of torch, say, it starts again by the ordinary way, which is slower and measures the same.
"""

import gc
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from orchestrator.contracts import InputError, OrchestrationError, TrainingSettings
from workers.metafeatures.deferral import defer
from workers.standby import Standby

MODULE = "workers.metafeatures.aside"
"""What a ``Standby`` runs that measures."""
UNNEEDED = ("bitsandbytes", "scipy", "sklearn")
"""Packages that peft and transformers import where they find them, and that measuring an unquantised model
uses nothing of."""
_ORDINARY = "--ordinary"
"""Starts without the short cuts; the question follows as an argument."""


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
    task_source: str, base_model: str, settings: TrainingSettings, standby: Standby | None = None
) -> Iterator[Callable[[], dict[str, float]]]:
    """Begin to measure a task; leaving ends the process if it has not ended.

    Args:
        task_source: As in a sweep's ``tasks``; a relative path is of the working directory.
        base_model: As in a sweep.
        settings: Of the sweep.
        standby: A process that runs ``MODULE`` and was begun before; None: one is begun now.

    Yields:
        What waits for the meta-features and returns them, as ``FeatureCache.measure`` does. It raises
        ``InputError`` where the task or the base model can't be used, ``MeasuringFailedError`` where the
        process died.
    """
    with standby or Standby(MODULE) as process:

        def wait() -> dict[str, float]:
            answered = process.answer()
            if answered is None:
                raise MeasuringFailedError(task_source, *process.last_words())
            if "problems" in answered:
                raise InputError(*answered["problems"])
            features: dict[str, float] = answered["features"]
            return features

        process.ask({"task_source": task_source, "base_model": base_model, "settings": asdict(settings)})
        yield wait


def answer(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Measure a task.

    Args:
        asked: Task, base model and settings, as ``measuring_aside`` sends them.

    Returns:
        ``features``, or ``problems`` of the input.
    """
    from workers.metafeatures.cache import FeatureCache
    from workers.models.base import load_base
    from workers.tasks.loading import load_task

    settings = TrainingSettings(**asked["settings"])
    try:
        task = load_task(asked["task_source"])
        base = load_base(asked["base_model"], dtype=settings.compute_dtype)
        return {"features": FeatureCache().measure(task, base, settings)}
    except InputError as err:
        return {"problems": list(err.problems)}


def _load() -> None:
    """Import what measuring takes."""
    import workers.metafeatures.probes
    import workers.tasks.loading  # noqa: F401


def _start_shortly() -> None:
    """Import what measuring takes and leave aside what else comes with it; for this process only."""
    gc.disable()
    for name in UNNEEDED:
        sys.modules[name] = None  # type: ignore[assignment]  # Python's way to say that it can't be imported
    defer()
    import torch.distributed

    # As in a build without it: one process is not distributed, and transformers then loads none of it.
    torch.distributed.is_available = lambda: False
    _load()
    gc.freeze()  # what has been imported stays; what comes is collected again
    gc.enable()


def _begin_anew(asked: str) -> None:
    """Become a process that starts by the ordinary way."""
    os.execv(sys.executable, [sys.executable, "-m", MODULE, _ORDINARY, asked])


def main(arguments: list[str]) -> None:
    """Answer one question; what the libraries print goes where errors go."""
    said = os.dup(1)
    os.dup2(2, 1)
    if arguments[:1] == [_ORDINARY]:
        answered = answer(json.loads(arguments[1]))
    else:
        asked, answered = "", {}
        try:
            _start_shortly()
            asked = sys.stdin.readline()
            answered = answer(json.loads(asked)) if asked else {}
        except Exception:  # noqa: BLE001  # whatever a short cut led to
            traceback.print_exc()
            os.dup2(said, 1)
            _begin_anew(asked or sys.stdin.readline())
    os.write(said, f"{json.dumps(answered)}\n".encode())
    os._exit(0)  # tidying up all that torch has loaded takes longer than measuring a small task


if __name__ == "__main__":
    main(sys.argv[1:])
