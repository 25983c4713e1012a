"""What does Ray Tune itself cost: N trials of R reports with no work in them, its default loggers on.

    python -m benchmarks.orchestration_tune --storage DIR [--trials N] [--reports R] [--kind class|function]

The Ray Tune side of ``benchmarks.orchestration``, a process of its own so that its whole tree can be measured
from outside. ``class`` is the best case: a class trainable whose actors are reused from trial to trial, and
that writes no checkpoints.
Prints one JSON line; times in seconds.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray
from ray import tune

QUARTERS = 4
SPACE: dict[str, Any] = {
    "learning_rate": tune.loguniform(1e-6, 1e-2),
    "weight_decay": tune.uniform(0.0, 0.1),
    "warmup_ratio": tune.uniform(0.0, 0.2),
    "lr_scheduler": tune.choice(["linear", "cosine", "constant"]),
    "batch_size": tune.choice([4, 8, 16, 32]),
    "peft_method": tune.choice(["lora", "dora", "ia3"]),
    "rank": tune.choice([4, 8, 16, 32, 64]),
    "alpha": tune.choice([8, 16, 32, 64]),
    "dropout": tune.uniform(0.0, 0.3),
    "target_modules": tune.choice(["qkv_proj", "attention", "all-linear"]),
}
"""Of about the size of a config to finetune with, so that what Tune records is of realistic length."""


def loss_at(config: Mapping[str, Any], epoch: int) -> float:
    """Return a loss that falls with the epochs, with digits as long as a real one's."""
    return 3.0 / (epoch + 1 / 3) + float(config["dropout"])


class Idle(tune.Trainable):
    """A class trainable with nothing to do."""

    def setup(self, config: dict[str, Any]) -> None:
        self._config = config

    def step(self) -> dict[str, float]:
        return {"eval_loss": loss_at(self._config, self.iteration + 1)}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._config = new_config
        return True


def idle(config: dict[str, Any]) -> None:
    """Report as often as the config says, with nothing to do in between."""
    for epoch in range(1, config["reports"] + 1):
        tune.report({"eval_loss": loss_at(config, epoch)})


class Finishes(tune.Callback):
    """Notes when each quarter of the trials was finished, in seconds since it was made."""

    def __init__(self, trials: int) -> None:
        self._start_s = time.perf_counter()
        self._marks = [-(-trials * (quarter + 1) // QUARTERS) for quarter in range(QUARTERS)]
        self._finished = 0
        self.quarters_s: list[float] = []

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._finished += 1
        while len(self.quarters_s) < QUARTERS and self._finished >= self._marks[len(self.quarters_s)]:
            self.quarters_s.append(round(time.perf_counter() - self._start_s, 3))


def run_tune(*, kind: str, trials: int, reports: int, storage: Path) -> dict[str, Any]:
    """Run the trials to their end under ``Tuner.fit``, in a Ray that runs already; refuse what went wrong."""
    space = SPACE if kind == "class" else {**SPACE, "reports": reports}
    finishes = Finishes(trials)
    tuner = tune.Tuner(
        Idle if kind == "class" else idle,
        param_space=space,
        tune_config=tune.TuneConfig(num_samples=trials, max_concurrent_trials=2, reuse_actors=True),
        run_config=tune.RunConfig(
            name=f"tune-{kind}",
            storage_path=str(storage.absolute()),
            stop={"training_iteration": reports} if kind == "class" else None,
            # As its class trainables default to it, Tune would write a checkpoint for each trial's end.
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False if kind == "class" else None),
            failure_config=tune.FailureConfig(fail_fast=True),
            callbacks=[finishes],
            verbose=0,
        ),
    )
    start_s = time.perf_counter()
    results = tuner.fit()
    fit_s = time.perf_counter() - start_s
    if results.num_errors:
        raise RuntimeError(f"{results.num_errors} of {trials} trials failed, the first: {results.errors[0]}")
    seen = [(results[index].metrics or {}).get("training_iteration") for index in range(len(results))]
    if seen != [reports] * trials:
        raise RuntimeError(f"expected {trials} trials of {reports} reports, got {len(seen)}: {set(seen)}")
    return {"fit_s": round(fit_s, 3), "quarters_s": finishes.quarters_s}


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--storage", type=Path, required=True, help="folder for what Tune writes")
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--reports", type=int, default=10, help="reports a trial")
    parser.add_argument("--kind", choices=("class", "function"), default="class")
    args = parser.parse_args(argv)
    start_s = time.perf_counter()
    ray.init(address="local", include_dashboard=False, num_cpus=2, log_to_driver=False)
    try:
        found = run_tune(kind=args.kind, trials=args.trials, reports=args.reports, storage=args.storage)
    finally:
        ray.shutdown()
    wall_s = round(time.perf_counter() - start_s, 3)
    head = {"kind": args.kind, "trials": args.trials, "reports": args.reports, "ray": ray.__version__}
    print(json.dumps({**head, "wall_s": wall_s, **found}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
