"""Is the plan for a task unlike all others as good as the average-rank portfolio?

    python -m benchmarks.strange_plans make SWEEP.yaml FOLDER [--task FILE ... --count N]
    foretune run FOLDER/sweep.yaml --root STRANGE
    python -m benchmarks.strange_plans compare ROOT STRANGE

``make`` distorts three tasks of the sweep and writes them as JSON Lines, with a sweep that runs the same
configs, or the first N of them, on these and on the files that are named. ``compare`` learns from all tasks
of ROOT, where the sweep itself was run, plans for each task of STRANGE by the meta-features measured there,
and replays the plan on the curves recorded there. A machine that was slower then, by other load, is allowed
for with ``--slower``. Regret is 0 for the best config on record and 1 for the median one, at budgets that are
multiples of the task's median full run. The same for the tasks of ROOT, each left out of what is learned,
stands below.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import yaml

from benchmarks.distortions import distort
from benchmarks.strangeness import left_out_scores
from orchestrator.contracts import InputError
from surrogates.baselines.fixed import RandomSearch
from surrogates.baselines.portfolios import AverageRank
from surrogates.data.tables import PastTask
from surrogates.evaluation.ours import TransferOnly
from surrogates.evaluation.regret import measure, rulers
from surrogates.evaluation.replay import Replay, seed_on
from surrogates.metadataset import MetaDataset
from surrogates.models.strangeness import Strangeness
from surrogates.stepwise import Method
from workers.tasks.loading import load_task, save_task

STRANGE = (
    ("worlds:compounds", "shuffled answers", "compounds-shuffled"),
    ("worlds:people", "Cyrillic letters", "people-cyrillic"),
    ("worlds:towns", "reversed text", "towns-reversed"),
)
"""Task, how it is distorted, and what that is called."""
METHODS: tuple[Method, ...] = (TransferOnly(), AverageRank(), RandomSearch())


def make(sweep: Path, folder: Path, *, files: Sequence[Path] = (), count: int | None = None) -> None:
    """Write the distorted tasks, and the sweep that runs its configs on them.

    Args:
        sweep: The sweep whose configs are run.
        folder: Where to write.
        files: Further strange tasks.
        count: How many of the configs it draws, from the first; None: all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    spec = yaml.safe_load(sweep.read_text())
    tasks = [str(path.resolve()) for path in files]
    for source, way, name in STRANGE:
        task = load_task(source)
        path = folder.resolve() / f"{name}.jsonl"
        save_task(replace(distort(task, task, way), name=name), path)
        tasks.append(str(path))
    strange = {**spec, "name": f"{spec['name']}-strange", "tasks": tasks}
    if count is not None:
        strange["configs"] = {**spec["configs"], "count": count}
    (folder / "sweep.yaml").write_text(yaml.safe_dump(strange, sort_keys=False))


def faster(meta: MetaDataset, factor: float) -> MetaDataset:
    """Divide all seconds: the machine was so many times slower than where the other curves were recorded."""
    points = meta.points.assign(cost_s=meta.points["cost_s"] / factor)
    trials = meta.trials.assign(cost_s=meta.trials["cost_s"] / factor)
    return replace(meta, points=points, trials=trials)


def judge(
    past: MetaDataset,
    curves: MetaDataset,
    task: PastTask,
    *,
    budgets: Sequence[float],
    seeds: Sequence[int],
    methods: Sequence[Method] = METHODS,
) -> pd.DataFrame:
    """Let methods learn from past tasks, and replay them on a task that is recorded elsewhere.

    Args:
        past: What is learned from; the task is not in it.
        curves: Where the task's curves are recorded.
        task: The task.
        budgets: Multiples of its median cost of a full run.
        seeds: Of the methods.
        methods: What is compared.

    Returns:
        Rows of ``surrogates.evaluation.regret.measure``; a method's own seconds are left out of the clock.
    """
    played = Replay(curves, task)
    runs = [
        played.run(start, budget * played.median_cost_s).assign(
            method=method.name, task_id=task.task_id, seed=seed, budget=float(budget)
        )
        for method in methods
        for seed in seeds
        for start in [method.learn(past, seed=seed_on(task.task_id, seed))]
        for budget in budgets
    ]
    measured_by = {task.task_id: rulers(curves, played)}
    return measure(pd.concat(runs, ignore_index=True), curves, measured_by, budgets, own_time=False)


def compare(
    past: MetaDataset, strange: MetaDataset, *, budgets: Sequence[float], seeds: Sequence[int]
) -> Iterator[str]:
    """Yield the lines of the comparison, a Markdown table.

    Args:
        past: The tasks that are learned from.
        strange: The tasks that are planned for; the same space and base model.
        budgets: Multiples of a task's median cost of a full run.
        seeds: Of the methods.

    Raises:
        InputError: The two are not of one kind.
    """
    _refuse_unlike(past, strange)
    heads = [f"{method.name} at {budget:g}x" for budget in budgets for method in METHODS]
    yield f"| task | strangeness | {' | '.join(heads)} |"
    yield "|---" * (2 + len(heads)) + "|"
    judgement = Strangeness([_of_task(task, past) for task in past.tasks])
    rows = []
    for task in strange.tasks:
        judged = judgement.judge(_of_task(task, past))
        rows.append(_by_head(judge(past, strange, task, budgets=budgets, seeds=seeds)))
        yield _line(task.name, None if judged is None else judged.score, rows[-1])
    yield _line("strange tasks, median", None, pd.concat(rows, axis=1).median(axis=1))
    yield _line("strange tasks, mean", None, pd.concat(rows, axis=1).mean(axis=1))
    scores = left_out_scores({task.name: _of_task(task, past) for task in past.tasks})
    rows = []
    for task in past.tasks:
        others = past.without([task.task_id])
        rows.append(_by_head(judge(others, past, task, budgets=budgets, seeds=seeds)))
        yield _line(f"{task.name}, left out", scores[task.name], rows[-1])
    yield _line("left out, median", None, pd.concat(rows, axis=1).median(axis=1))
    yield _line("left out, mean", None, pd.concat(rows, axis=1).mean(axis=1))


def _refuse_unlike(past: MetaDataset, strange: MetaDataset) -> None:
    alike = {
        "space": past.space.to_json() == strange.space.to_json(),
        "base model": past.base_fingerprints == strange.base_fingerprints,
        "configs": set(strange.configs) <= set(past.configs),
    }
    unlike = [name for name, is_alike in alike.items() if not is_alike]
    if unlike:
        raise InputError(f"the two roots differ in {', '.join(unlike)}; run one sweep's configs in both")


def _of_task(task: PastTask, past: MetaDataset) -> dict[str, float]:
    """Return what was measured of a task, and not of the machine."""
    machine = past.machine_features
    return {name: value for name, value in task.features.items() if name not in machine}


def _by_head(measured: pd.DataFrame) -> "pd.Series[float]":
    """Return the mean regret over seeds by budget and method."""
    return measured.groupby(["budget", "method"], sort=False)["regret"].mean()


def _line(name: str, strangeness: float | None, regrets: "pd.Series[float]") -> str:
    cells = [
        f"{regrets[budget, method.name]:.3f}"
        for budget in regrets.index.unique("budget")
        for method in METHODS
    ]
    return f"| {name} | {'' if strangeness is None else f'{strangeness:.2f}'} | {' | '.join(cells)} |"


def main() -> None:
    """Make the tasks, or print the comparison."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make", help="write distorted tasks and their sweep")
    making.add_argument("sweep", type=Path, help="the sweep whose configs are run")
    making.add_argument("folder", type=Path)
    making.add_argument("--task", type=Path, action="append", default=[], help="a strange task of your own")
    making.add_argument("--count", type=int, help="so many of the configs that the sweep draws")
    comparing = commands.add_parser("compare", help="print the comparison")
    comparing.add_argument("root", type=Path, help="where the sweep was run")
    comparing.add_argument("strange", type=Path, help="where its configs were run on the distorted tasks")
    comparing.add_argument("--budgets", default="1,3,10")
    comparing.add_argument("--seeds", type=int, default=5)
    comparing.add_argument("--slower", type=float, default=1.0, help="divide the seconds of STRANGE by this")
    asked = parser.parse_args()
    if asked.command == "make":
        make(asked.sweep, asked.folder, files=asked.task, count=asked.count)
        return
    budgets = [float(budget) for budget in asked.budgets.split(",")]
    past = MetaDataset.from_root(asked.root)
    strange = faster(MetaDataset.from_root(asked.strange), asked.slower)
    for line in compare(past, strange, budgets=budgets, seeds=range(asked.seeds)):
        print(line, flush=True)


if __name__ == "__main__":
    main()
