"""Give a recommended plan to Ray Tune.

    python examples/ray_tune_searcher.py          on a small table that is made up here
    python examples/ray_tune_searcher.py ROOT     on what a sweep has measured

One task of the table plays the new one: what is on record of it is not learned from. Its curves stand in for
training, so that this takes seconds: put your own trainable in the place of ``replay``.
"""

import argparse
import math
import random
import tempfile
from collections.abc import Mapping
from typing import Any

import pandas as pd

from cluster.connection import connected  # before Ray, whose token authentication it leaves on
from orchestrator.app.ray_tune_searcher import ForetuneSearcher, PlannedEpochs
from orchestrator.contracts import config_id
from surrogates.metadataset import MetaDataset
from surrogates.recommender import Recommender

SPACE = {"lr": {"min": 1e-5, "max": 1e-1, "log": True}, "rank": [4, 8, 16, 32]}
EPOCHS = 4


def made_up(tasks: int = 5, configs: int = 16) -> MetaDataset:
    """Return a table whose best learning rate moves with the size of the task."""
    rng = random.Random(0)
    drawn = [{"lr": 10 ** rng.uniform(-5, -1), "rank": rng.choice([4, 8, 16, 32])} for _ in range(configs)]
    curves = []
    for task in range(tasks):
        best = -3.5 + 0.3 * task
        for number, config in enumerate(drawn):
            floor = (math.log10(config["lr"]) - best) ** 2 + 4 / config["rank"]
            for epoch in range(1, EPOCHS + 1):
                curves.append(
                    {
                        "task_id": f"task-{task}",
                        "config_id": f"config-{number}",
                        "epoch": epoch,
                        "loss": floor + 1.0 / epoch,
                        "seconds": 1.0 + config["rank"] / 16,
                    }
                )
    return MetaDataset.from_frames(
        pd.DataFrame(curves),
        pd.DataFrame([{"config_id": f"config-{n}", **config} for n, config in enumerate(drawn)]),
        pd.DataFrame([{"task_id": f"task-{task}", "size": 100.0 + 50.0 * task} for task in range(tasks)]),
        space=SPACE,
        metric="loss",
        direction="minimise",
        cost="seconds",
    )


def replay(config: dict[str, Any], curves: Mapping[str, list[float]]) -> None:
    """Report the recorded values of a config, epoch by epoch."""
    from ray import tune

    hyperparameters = {name: value for name, value in config.items() if name != "epochs"}
    for value in curves[config_id(hyperparameters)]:  # until PlannedEpochs stops it
        tune.report({"value": value})


def main() -> None:
    """Plan for the last task of a table, run the plan with Tune, and print what it found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", nargs="?", metavar="ROOT", help="a sweep's folder")
    parser.add_argument("--budget-s", type=float, default=20.0, help="seconds as the table counts them")
    arguments = parser.parse_args()

    meta = MetaDataset.from_root(arguments.root) if arguments.root else made_up()
    new = meta.tasks[-1]
    trials = meta.trials.loc[(meta.trials["task_id"] == new.task_id) & ~meta.trials["is_failure"]]
    values = {str(trial_id): list(rows["value"]) for trial_id, rows in meta.points.groupby("trial_id")}
    curves = {
        config_id(meta.configs[str(row.config_id)]): values[str(row.trial_id)]
        for row in trials.itertuples(index=False)
    }

    recommender = Recommender.fit(meta, exclude_task_ids=[new.task_id])
    candidates = [meta.configs[key] for key in trials["config_id"]]
    plan = recommender.plan(new.features, arguments.budget_s, candidates=candidates)
    searcher = ForetuneSearcher(plan, meta.space)

    with tempfile.TemporaryDirectory() as storage, connected():
        from ray import tune

        results = tune.Tuner(
            tune.with_parameters(replay, curves=curves),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                num_samples=len(searcher),
                max_concurrent_trials=2,
                metric="value",
                mode="min" if meta.direction == "minimise" else "max",
            ),
            run_config=tune.RunConfig(storage_path=storage, stop=PlannedEpochs(), verbose=0),
        ).fit()
        best = results.get_best_result()
    assert best.config is not None
    assert best.metrics is not None
    print(f"{len(results)} trials on {new.name}; best {meta.metric}: {best.metrics['value']:.3f}")
    print({name: value for name, value in best.config.items() if name != "epochs"})


if __name__ == "__main__":
    main()
