"""Question: does finetuning the embedded base model behave like finetuning?

Prints, for a sweep of it, a Markdown table a task: the untrained base, the default config, the median and
the best config, how many fail; and how alike tasks rank configs. Losses are nats per answer token on the
validation split at the epoch where it is lowest; EM is the exact match on the test split at that epoch.

    foretune run examples/embedded-default.yaml --root runs/embedded-default
    python benchmarks/embedded_default.py runs/embedded-default
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from orchestrator.app.roots import existing_spec
from orchestrator.app.zero_shot import zero_shot
from orchestrator.contracts import config_id
from orchestrator.metadataset.reader import MetaDatasetReader
from workers.models.base import load_base
from workers.space import SearchSpace
from workers.tasks.loading import load_task

FAILS_BELOW = 0.1
"""Test exact match under which a trial has failed."""


def incumbents(root: Path) -> pd.DataFrame:
    """Return one row a trial: its scores at the epoch with the lowest validation loss, if it has any."""
    reader = MetaDatasetReader(root)
    curves = reader.curves()
    best = curves.loc[curves.groupby("trial_id")["eval_loss"].idxmin().dropna()]
    columns = ["trial_id", "eval_loss", "test_exact_match"]
    trials = reader.trials()[["trial_id", "task_name", "task_source", "config_id", "outcome", "train_s"]]
    return trials.merge(best[columns], on="trial_id", how="left")


def task_row(name: str, rows: pd.DataFrame, default: str, untrained: tuple[float, float]) -> str:
    """Return one line of the table."""
    whole = rows.loc[rows["outcome"] == "completed"].sort_values("eval_loss")
    first = whole.loc[whole["config_id"] == default].iloc[0]
    cells = [
        f"{untrained[0]:.2f} / {untrained[1]:.2f}",
        f"{first['eval_loss']:.2f} / {first['test_exact_match']:.2f}",
        f"{whole['eval_loss'].median():.2f} / {whole['test_exact_match'].median():.2f}",
        f"{whole['eval_loss'].iloc[0]:.2f} / {whole['test_exact_match'].iloc[0]:.2f}",
        f"{(rows['test_exact_match'].fillna(0) < FAILS_BELOW).mean():.0%}",
        str((rows["outcome"] != "completed").sum()),
        f"`{whole['config_id'].iloc[0][:6]}`",
    ]
    return f"| {name} | " + " | ".join(cells) + " |"


def main() -> None:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("root", type=Path)
    root = parser.parse_args().root
    spec = existing_spec(root)
    base = load_base(spec.base_model, dtype=spec.training.compute_dtype)
    default = config_id(SearchSpace.from_spec(spec.preset, spec.space).default())
    trials = incumbents(root)
    print("| task | zero-shot | default config | median config | best config | EM < 0.1 | diverged | best |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, rows in trials.groupby("task_name"):
        untrained = zero_shot(load_task(rows["task_source"].iloc[0]), base, spec.training_settings())
        print(task_row(str(name), rows, default, (untrained.loss, untrained.exact_match)))
    losses = trials.pivot_table(index="config_id", columns="task_name", values="eval_loss")
    losses = losses.fillna(losses.max().max() + 1)
    alike = losses.corr("spearman").to_numpy()[np.triu_indices(losses.shape[1], 1)]
    better = losses.loc[losses.rank().mean(axis=1).sort_values().index[: len(losses) // 2]]
    among = better.corr("spearman").to_numpy()[np.triu_indices(better.shape[1], 1)]
    print(
        f"\nSpearman's correlation of configs' losses between tasks: mean {alike.mean():.2f}, lowest "
        f"{alike.min():.2f}; among the better half of configs: mean {among.mean():.2f}, lowest "
        f"{among.min():.2f}."
    )
    print(f"Training took {trials['train_s'].mean():.1f} s a trial in the mean.")


if __name__ == "__main__":
    main()
