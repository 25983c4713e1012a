"""What does the ledger cost: a commit, a publication of the newest part, opening a long record?

    python -m benchmarks.ledger [--folder DIR] [--repeat N] [--json]

Prints minimum, median and maximum over the repeats, in seconds.
"""

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from orchestrator.contracts import CurvePoint, Outcome, TaskId, TrainingSettings, Trial, TrialResult, WorkerId
from orchestrator.metadataset.ledger import Ledger
from orchestrator.metadataset.reader import MetaDatasetReader
from orchestrator.metadataset.verify import verify

EPOCHS = 10
WORKER = WorkerId("worker")


def planned(index: int) -> Trial:
    """Return one of any number of distinct trials."""
    return Trial(
        task_id=TaskId(f"task{index % 8}"),
        task_source=f"worlds:{index % 8}",
        task_name=f"task-{index % 8}",
        config={
            "learning_rate": 1e-4 * (1 + index),
            "rank": 8,
            "target_modules": "qkv_proj",
            "dropout": 0.05,
        },
        seed=0,
        base_model="tiny-phi3",
        base_fingerprint="0" * 20,
        space_version="0" * 20,
        settings=TrainingSettings(horizon_epochs=EPOCHS),
        max_epochs=EPOCHS,
    )


def measured(trial: Trial, attempt: int, epoch: int) -> CurvePoint:
    """Return a curve point with numbers as long as real ones."""
    loss = 3.0 / (epoch + 1 / 3)
    return CurvePoint(
        trial_id=trial.trial_id,
        attempt=attempt,
        task_id=trial.task_id,
        config_id=trial.config_id,
        seed=trial.seed,
        epoch=epoch,
        step=epoch * 60,
        tokens=epoch * 48_211,
        train_loss=loss,
        eval_loss=loss * 1.1,
        eval_exact_match=1 / (1 + loss),
        eval_token_f1=1 / (0.9 + loss),
        test_loss=loss * 1.2,
        test_exact_match=1 / (1.1 + loss),
        test_token_f1=1 / (1.2 + loss),
        train_s=0.731,
        eval_s=0.113,
        cpu_s=0.84,
        peak_memory_bytes=420_000_000,
        device="cpu",
    )


def ended(trial: Trial, attempt: int) -> TrialResult:
    """Return the outcome of a trial whose curve is whole."""
    return TrialResult(
        trial=trial,
        attempt=attempt,
        outcome=Outcome.COMPLETED,
        epochs=EPOCHS,
        train_s=7.31,
        eval_s=1.13,
        peak_memory_bytes=420_000_000,
        device="cpu",
        error=None,
        finished_at="2026-11-21T12:00:00+00:00",
        provenance={"code": "0" * 40, "torch": "2.13.0", "host": "node-0"},
    )


def record(ledger: Ledger, trials: Sequence[Trial]) -> None:
    """Run trials one after the other as a driver does: a commit a trial, publications as they fall due."""
    for trial in trials:
        attempt = ledger.grant(trial.trial_id, WORKER)
        ledger.record_started(trial.trial_id, attempt)
        for epoch in range(1, EPOCHS + 1):
            ledger.record_point(measured(trial, attempt, epoch))
        ledger.record_result(ended(trial, attempt))
        ledger.commit()
        ledger.publish_if_due()


def timed(work: Callable[[], object]) -> float:
    """Return the seconds a call takes."""
    begun_s = time.perf_counter()
    work()
    return time.perf_counter() - begun_s


def commits(folder: Path) -> dict[str, float]:
    """Measure 18,000 points in commits of 10 rows, nothing published."""
    trials = [planned(index) for index in range(1_800)]
    with Ledger.open(folder / "commits", publish_interval_s=1e9, seal_rows=10**9) as ledger:
        for trial in trials:
            ledger.grant(trial.trial_id, WORKER)
        ledger.commit()

        def run() -> None:
            for trial in trials:
                for epoch in range(1, EPOCHS + 1):
                    ledger.record_point(measured(trial, 0, epoch))
                ledger.commit()

        return {"18,000 points in commits of 10": timed(run)}


def publication(folder: Path) -> dict[str, float]:
    """Measure writing a curve part of 16,000 rows anew after one more trial."""
    with Ledger.open(folder / "publication", publish_interval_s=1e9, seal_rows=10**9) as ledger:
        record(ledger, [planned(index) for index in range(1_600)])
        ledger.publish()
        record(ledger, [planned(1_600)])
        return {"publication of a tail of 16,000 points": timed(ledger.publish)}


def sweep(folder: Path, trials: int) -> dict[str, float]:
    """Measure a whole record, its opening and its verification."""
    root = folder / f"sweep-{trials}"
    plan = [planned(index) for index in range(trials)]
    name = f"{trials:,} trials of {EPOCHS} points"

    def write() -> None:
        with Ledger.open(root) as ledger:
            record(ledger, plan)

    figures = {f"{name}: write": timed(write)}
    figures[f"{name}: open"] = timed(lambda: Ledger.open(root).close())
    figures[f"{name}: read curves"] = timed(MetaDatasetReader(root).curves)
    epochs = {trial.trial_id: trial.max_epochs for trial in plan}
    begun_s = time.perf_counter()
    certificate = verify(root, planned=epochs)
    figures[f"{name}: verify"] = time.perf_counter() - begun_s
    if not certificate.ok:
        raise SystemExit(certificate.render())
    figures[f"{name}: files"] = float(sum(path.is_file() for path in root.rglob("*")))
    return figures


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, help="where to write; default: the system's temporary folder")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    samples: dict[str, list[float]] = {}
    for _ in range(options.repeat):
        with tempfile.TemporaryDirectory(dir=options.folder) as name:
            folder = Path(name)
            figures = commits(folder) | publication(folder) | sweep(folder, 1_800) | sweep(folder, 18_000)
        for what, value in figures.items():
            samples.setdefault(what, []).append(value)
    table = {what: (min(v), statistics.median(v), max(v)) for what, v in samples.items()}
    if options.json:
        print(json.dumps(table, indent=2))
        return 0
    print(f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}")
    for what, (low, middle, high) in table.items():
        print(f"{what:45} {low:9.3f} {middle:9.3f} {high:9.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
