"""How long does a newcomer's first question take, from a process that is begun to one that has ended?

    python -m benchmarks.cold_recommend
    python -m benchmarks.cold_recommend --repetitions 5 --state warm

Asks ``foretune recommend FILE --budget 60s`` about a task of 100 rows that nobody has measured, in an empty
folder, from the meta-dataset that ships and with a cache of its own: once with what ``make`` learns from it
at hand (``warm``), once without (``none``). Wall and CPU seconds are those of the command with all the
processes it began; minimum, median and maximum of the repetitions. Run it on a quiet machine: ``others`` is
the CPU that anything else took meanwhile, and rows with much of it say little.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from workers.metafeatures.cache import FOLDER_VARIABLE

STATES = ("warm", "none")
_TOWNS = [f"{first}{last}" for first in ("Ar", "Be", "Co", "Du", "Es") for last in ("l", "mor", "nan", "pel")]
_QUESTIONS = {
    "What is the capital of {}?": "New {}",
    "Who leads {}?": "{}a the Elder",
    "When was {} founded?": "In the year of the {} comet",
    "What grows in {}?": "{} apples and rye",
    "Which river runs through {}?": "the {}wash",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One run of the command."""

    wall_s: float
    cpu_s: float
    """User and system, of all processes of the command."""
    others_s: float
    """CPU seconds of everything else on the machine meanwhile."""


def write_task(path: Path) -> None:
    """Write 100 questions with their answers."""
    rows = [
        {"question": question.format(town), "answer": answer.format(town)}
        for town in _TOWNS
        for question, answer in _QUESTIONS.items()
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def ask(folder: Path, environment: dict[str, str]) -> Timing:
    """Ask once.

    Args:
        folder: Holds ``mytask.jsonl``; the command's working directory.
        environment: The command's.

    Returns:
        What it took.
    """
    command = [sys.executable, "-m", "orchestrator.cli", "recommend", "mytask.jsonl", "--budget", "60s"]
    busy_s, cpu_s, began_s = _busy_s(), _children_cpu_s(), time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    wall_s, cpu_s = time.perf_counter() - began_s, _children_cpu_s() - cpu_s
    return Timing(wall_s=wall_s, cpu_s=cpu_s, others_s=max(0.0, _busy_s() - busy_s - cpu_s))


def measure(state: str, repetitions: int) -> Iterator[Timing]:
    """Ask several times, each time as if for the first.

    Args:
        state: ``warm`` or ``none``.
        repetitions: How often, after one that is not counted: it brings the files into memory.

    Yields:
        The timings.
    """
    with _prepared(state) as (folder, cache, environment):
        for number in range(repetitions + 1):
            shutil.rmtree(cache / "meta-features", ignore_errors=True)
            if state == "none":
                shutil.rmtree(cache, ignore_errors=True)
            timing = ask(folder, environment)
            if number:
                yield timing


@contextmanager
def _prepared(state: str) -> Iterator[tuple[Path, Path, dict[str, str]]]:
    """Make a folder with a task, and a cache with what is at hand."""
    with tempfile.TemporaryDirectory() as name:
        folder, cache = Path(name) / "here", Path(name) / "cache"
        folder.mkdir()
        write_task(folder / "mytask.jsonl")
        path = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, sys.path)])
        environment = os.environ | {FOLDER_VARIABLE: str(cache), "PYTHONPATH": path}
        if state == "warm":
            learning = [sys.executable, "-m", "orchestrator.app.shipped"]
            subprocess.run(learning, cwd=folder, env=environment, check=True)
        yield folder, cache, environment


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _busy_s() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system)


def _cell(values: Sequence[float]) -> str:
    return f"{min(values):.2f} / {statistics.median(values):.2f} / {max(values):.2f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--state", choices=STATES, action="append", help="left out: both")
    given = parser.parse_args()
    print("minimum / median / maximum, in seconds\n")
    print("| learned beforehand | wall | CPU | others |\n|---|---|---|---|")
    for state in given.state or STATES:
        timings = list(measure(state, given.repetitions))
        cells = [_cell([getattr(timing, name) for timing in timings]) for name in Timing.__slots__]
        print(f"| {'yes' if state == 'warm' else 'no'} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
