"""Does the strangeness score tell tasks unlike all others from ordinary ones?

    python -m benchmarks.strangeness [--tasks FILE ...] [--write FILE]

Measures the meta-features of the tasks of examples/tiny-1800.yaml, of the same tasks about other worlds, of
each of them distorted in every way of ``distortions``, and of the tasks given. Prints the score of every past
task, itself left out; of the others against all past tasks, lowest, median and highest, and in how many cases
of all it is above every past task's. About five minutes the first time; what was measured is kept, as always.

``--write`` keeps the meta-features as the tests use them (tests/surrogates/models/strangeness.json).
"""

import argparse
import json
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import yaml

from benchmarks.distortions import DISTORTIONS, distort
from orchestrator.contracts import TrainingSettings
from surrogates.metadataset import ROOT_MACHINE_FEATURES
from surrogates.models.strangeness import Strangeness
from workers.metafeatures import FeatureCache
from workers.tasks.loading import load_task
from workers.tasks.records import Task

SWEEP = Path(__file__).parents[1] / "examples" / "tiny-1800.yaml"
PAST, ALIKE, GIVEN = "past tasks", "other worlds", "tasks given"
Features = dict[str, float]
Table = dict[str, dict[str, Features]]
"""Kind and task to meta-features."""
_DIGITS = 5
_FOREIGN = 3
"""Answers of another task are those of the third next."""


def past_tasks() -> dict[str, Task]:
    """The sweep's tasks by name."""
    return {source: load_task(source) for source in yaml.safe_load(SWEEP.read_text())["tasks"]}


def distorted(name: str, tasks: Mapping[str, Task], way: str) -> Task:
    """One of the tasks, distorted."""
    names = list(tasks)
    other = names[(names.index(name) + _FOREIGN) % len(names)]
    return distort(tasks[name], tasks[other], way)


def sweep_measure(cache: Path | None = None) -> Callable[[Task], Features]:
    """Return what measures a task as the sweep's workers do; what describes the machine is left out."""
    from workers.models.base import load_base  # takes seconds, and the table is judged without it

    sweep = yaml.safe_load(SWEEP.read_text())
    base, settings = load_base(sweep["base_model"]), TrainingSettings(**sweep["training"])
    kept = FeatureCache(cache)

    def measure(task: Task) -> Features:
        """Measure a task."""
        features = kept.measure(task, base, settings)
        return {name: value for name, value in features.items() if name not in ROOT_MACHINE_FEATURES}

    return measure


def measure_all(files: Sequence[Path]) -> Table:
    """Measure everything."""
    measure, tasks = sweep_measure(), past_tasks()

    def kinds() -> Iterator[tuple[str, str, Task]]:
        """Yield kind, name and task."""
        for name, task in tasks.items():
            yield PAST, name, task
            yield ALIKE, name, load_task(f"{name}?seed=1")
        for way in DISTORTIONS:
            for name in tasks:
                yield way, name, distorted(name, tasks, way)
        for path in files:
            yield GIVEN, path.stem, load_task(str(path))

    table: Table = {}
    for kind, name, task in kinds():
        table.setdefault(kind, {})[name] = measure(task)
    return table


def left_out_scores(past: Mapping[str, Features]) -> dict[str, float]:
    """Score every past task against the others."""
    scores = {}
    for name, features in past.items():
        others = [held for other, held in past.items() if other != name]
        judged = Strangeness(others).judge(features)
        scores[name] = 0.0 if judged is None else judged.score
    return scores


def report(table: Table) -> Iterator[str]:
    """Say how the score does."""
    left_out = left_out_scores(table[PAST])
    yield "past tasks, each left out: " + ", ".join(f"{k} {v:.2f}" for k, v in left_out.items())
    strangeness = Strangeness(list(table[PAST].values()))
    yield f"{'against all past tasks':40} lowest median highest  above every past task"
    for kind, tasks in table.items():
        judged = [strangeness.judge(features) for features in tasks.values()]
        if kind == PAST:
            continue
        scores = [0.0 if found is None else found.score for found in judged]
        above = sum(score > max(left_out.values()) for score in scores)
        yield (
            f"{kind:40} {min(scores):6.2f} {statistics.median(scores):6.2f} {max(scores):7.2f}"
            f"  {above} of {len(scores)}"
        )


def write(table: Table, path: Path) -> None:
    """Keep the meta-features, rounded, as a table: names once, then a row a task."""
    names = sorted(next(iter(table[PAST].values())))
    rows = {
        kind: {
            name: [float(f"{features[key]:.{_DIGITS}g}") for key in names] for name, features in tasks.items()
        }
        for kind, tasks in table.items()
    }
    lines = [
        f'"{kind}": {{\n' + ",\n".join(f"{json.dumps(k)}: {v}" for k, v in tasks.items()) + "\n}"
        for kind, tasks in rows.items()
    ]
    path.write_text(f'{{"names": {json.dumps(names)},\n' + ",\n".join(lines) + "\n}\n")


def main() -> None:
    """Measure, print, and keep what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", type=Path, nargs="*", default=[], help="further tasks to judge")
    parser.add_argument("--write", type=Path, help="keep the meta-features in this file")
    arguments = parser.parse_args()
    table = measure_all(arguments.tasks)
    for line in report(table):
        print(line)
    if arguments.write:
        write(table, arguments.write)


if __name__ == "__main__":
    main()
