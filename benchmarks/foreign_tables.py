"""Question: does the recommender win on tables that have nothing to do with language models?

Each task of a table is left out in turn, and methods that learned from the others are replayed on its curves.
Candidates are shared, when past tasks ran the very configs to choose from, or unseen: then the configs are
halved by seed, past tasks know one half only, and the other half is what there is to choose from. Regret is 0
for the best config on record and 1 for the median one (Quick-Tune's in brackets: 1 is the worst point on
record), at budgets that are multiples of the task's median full run.

    python benchmarks/foreign_tables.py mlp boosting --keep runs/tables
    python benchmarks/foreign_tables.py runs/tables/mlp any/folder/of/tables --targets 10 --budgets 1,3,10
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.tables import boosting, data_sets, mlp
from benchmarks.tables.table import make_table
from surrogates.baselines import available
from surrogates.data.store import read_tables, write_tables
from surrogates.data.tables import PastTask
from surrogates.evaluation.ours import OURS, TransferOnly
from surrogates.evaluation.regret import measure, rulers
from surrogates.evaluation.replay import Replay, judged_tasks, replay_task
from surrogates.evaluation.summary import AtBudget, summarise
from surrogates.metadataset import MetaDataset
from surrogates.stepwise import Method

MADE = ("mlp", "mlp-own", "boosting", "boosting-own")
"""Tables that are made here; ``-own``: every task has configs of its own, so that none is shared."""
SETTINGS = ("shared", "unseen")
DEFAULT_METHODS = "random,average rank,nearest task"
_CONFIGS = 40
_EPOCHS = {"mlp": 15, "boosting": 12}


def with_unseen_candidates(meta: MetaDataset, task: PastTask, *, seed: int) -> MetaDataset:
    """Halve the configs: the task keeps one half, the other tasks the other.

    Args:
        meta: At least two configs.
        task: The one that is judged on.
        seed: Of the halves.

    Returns:
        The meta-dataset, in which no other task ran a config that the task ran.
    """
    order = np.random.default_rng(seed).permutation(sorted(meta.configs))
    known = set(order[: len(order) // 2])
    is_known = meta.trials["config_id"].isin(known)
    trials = meta.trials[is_known != (meta.trials["task_id"] == task.task_id)].reset_index(drop=True)
    points = meta.points[meta.points["trial_id"].isin(trials["trial_id"])].reset_index(drop=True)
    tasks = tuple(past for past in meta.tasks if past.task_id in set(trials["task_id"]))
    return replace(meta, trials=trials, points=points, tasks=tasks)


def judge(
    meta: MetaDataset,
    methods: Sequence[Method],
    *,
    setting: str,
    tasks: Sequence[PastTask],
    budgets: Sequence[float],
    seed: int = 0,
) -> pd.DataFrame:
    """Replay methods on tasks that they have not seen.

    Args:
        meta: A table.
        methods: What is compared.
        setting: ``shared`` or ``unseen`` candidates.
        tasks: Those left out, each in turn.
        budgets: Multiples of a task's median cost of a full run.
        seed: Of the methods and of the halves.

    Returns:
        Rows of ``surrogates.evaluation.regret.measure``; a method's own seconds are left out of the
        clock. Tasks on which no candidate worked are left out.
    """
    frames = []
    for task in tasks:
        judged = meta if setting == "shared" else with_unseen_candidates(meta, task, seed=seed)
        if task not in judged.tasks or task in judged.barren_tasks():
            continue
        played = [replay_task(method, judged, task, budgets=budgets, seed=seed) for method in methods]
        measured_by = {task.task_id: rulers(judged, Replay(judged, task))}
        rows = pd.concat(played, ignore_index=True)
        frames.append(measure(rows, judged, measured_by, budgets, own_time=False))
    return pd.concat(frames, ignore_index=True)


def made(name: str, *, seed: int = 0) -> MetaDataset:
    """Make one of the tables of ``MADE``, which takes minutes."""
    kind, _, own = name.partition("-")
    space, train = (mlp.SPACE, mlp.train) if kind == "mlp" else (boosting.SPACE, boosting.train)
    table = make_table(
        space,
        train,
        tasks=data_sets.NAMES,
        configs=_CONFIGS,
        epochs=_EPOCHS[kind],
        seed=seed,
        shared=not own,
        progress=lambda task: print(f"{name}: training on {task}", flush=True),
    )
    return table.meta_dataset()


def markdown(measured: pd.DataFrame) -> Iterator[str]:
    """Return the lines of one table's comparison."""
    methods = summarise(measured)
    budgets = [at.budget for at in methods[0].at]
    yield (
        "| method | "
        + " | ".join(f"regret at {budget:g}x | ours wins, ties, loses" for budget in budgets)
        + " |"
    )
    yield "|---" * (1 + 2 * len(budgets)) + "|"
    for method in methods:
        yield f"| {method.name} | " + " | ".join(_cells(at) for at in method.at) + " |"


def _cells(at: AtBudget) -> str:
    regret = (
        f"{at.regret.mean:.3f} ({at.regret.low:.3f} to {at.regret.high:.3f}) [{at.range_regret.mean:.3f}]"
    )
    if at.against is None:
        return f"{regret} | "
    return f"{regret} | {at.against.wins}, {at.against.ties}, {at.against.losses} (p {at.against.p:.2g})"


def _table(name: str, keep: Path | None) -> MetaDataset:
    if name not in MADE:
        return read_tables(Path(name))
    meta = made(name)
    if keep is not None:
        write_tables(meta, keep / name)
    return meta


def main() -> None:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("tables", nargs="+", help=f"folders of tables, or made here: {', '.join(MADE)}")
    parser.add_argument("--keep", type=Path, help="write the tables made here under this folder")
    parser.add_argument("--methods", default=DEFAULT_METHODS, help="baselines by name, or `all`")
    parser.add_argument("--budgets", default="1,3,10")
    parser.add_argument("--targets", type=int, default=1_000, help="judge on so many tasks, drawn by seed")
    parser.add_argument("--settings", default=",".join(SETTINGS))
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    baselines, left_out = available()
    names = [method.name for method in baselines] if asked.methods == "all" else asked.methods.split(",")
    print("\n".join(left_out))
    methods = [TransferOnly(), *(method for method in baselines if method.name in names)]
    budgets = [float(budget) for budget in asked.budgets.split(",")]
    for name in asked.tables:
        meta = _table(name, asked.keep)
        tasks = judged_tasks(meta)
        drawn = np.random.default_rng(asked.seed).permutation(len(tasks))[: asked.targets]
        for setting in asked.settings.split(","):
            chosen = [tasks[place] for place in sorted(drawn)]
            measured = judge(meta, methods, setting=setting, tasks=chosen, budgets=budgets, seed=asked.seed)
            print(f"\n{name}, {setting} candidates, {len(chosen)} of {len(tasks)} tasks; ours is {OURS}\n")
            print("\n".join(markdown(measured)), flush=True)


if __name__ == "__main__":
    main()
