"""What does orchestration cost, Foretune against Ray Tune: trials of ten reports with no work in them.

    python benchmarks/orchestration.py [--trials 1800] [--json]

One run, one machine, one process tree after the other: Ray alone (started and stopped), Foretune with N
and with 10 N trials, Ray Tune with N (class trainable, reused actors: its best case) and with a sample as
function trainables. Each is measured from outside over its whole tree, from the start of the process to the
end of the last of its children. What Ray alone costs is the same on both sides and no orchestration:
``wall_ratio`` and ``cpu_ratio``, Ray Tune's class trainable over Foretune at N trials, are without it,
``whole_wall_ratio`` and ``whole_cpu_ratio`` with it. Linux only.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
if not __package__:
    sys.path.insert(0, str(REPOSITORY))

from benchmarks.process_tree import ProcessTree
from orchestrator.metadataset.ledger import Ledger
from orchestrator.metadataset.reader import MetaDatasetReader

REPORTS = 10
FUNCTION_TRIALS = 200
RAY_ALONE = (
    "import ray; ray.init(address='local', include_dashboard=False, num_cpus=2, log_to_driver=False); "
    "ray.shutdown()"
)
SIDES = {
    "foretune": ["benchmarks.orchestration_foretune"],
    "tune class": ["benchmarks.orchestration_tune", "--kind", "class"],
    "tune function": ["benchmarks.orchestration_tune", "--kind", "function"],
}


def measure(arguments: Sequence[str]) -> tuple[dict[str, Any], str]:
    """Run Python; return what its process tree cost, in seconds and bytes, and what it printed."""
    environment = os.environ | {"RAY_USAGE_STATS_ENABLED": "0"}
    start_s = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with ProcessTree(process.pid) as tree:
        output, _ = process.communicate()
        tree.wait_until_gone(60.0)
    wall_s = time.perf_counter() - start_s
    if process.returncode:
        raise RuntimeError(f"python {' '.join(arguments)} ended with {process.returncode}")
    figures = {
        "wall_s": round(wall_s, 2),
        "cpu_s": round(tree.cpu_s, 2),
        "peak_bytes": tree.peak_bytes,
        "driver_peak_bytes": tree.driver_peak_bytes,
    }
    return figures, output


def measure_side(side: str, trials: int, storage: Path) -> dict[str, Any]:
    """Measure one side with so many trials; its ``fit_s`` is the time from its first trial to its last."""
    module, *options = SIDES[side]
    counts = ["--trials", str(trials), "--reports", str(REPORTS)]
    figures, output = measure(["-m", module, "--storage", str(storage), *counts, *options])
    said = json.loads(output.strip().splitlines()[-1])
    files = [path for path in storage.rglob("*") if path.is_file()]
    marks = [0.0, *said["quarters_s"]]
    return {
        "side": side,
        "trials": trials,
        **figures,
        "fit_s": said["fit_s"],
        "ms_a_trial_by_quarter": [round((b - a) * 4000 / trials, 3) for a, b in itertools.pairwise(marks)],
        "files": len(files),
        "bytes": sum(path.stat().st_size for path in files),
    }


def reopen(root: Path) -> dict[str, Any]:
    """Open a root's ledger as a resume does; return how long that took and how many rows it holds."""
    start_s = time.perf_counter()
    with Ledger.open(root):
        recovery_s = time.perf_counter() - start_s
    reader = MetaDatasetReader(root)
    return {"recovery_s": round(recovery_s, 3), "recovered_curve_rows": len(reader.curves(columns=["epoch"]))}


def run(trials: int, folder: Path) -> dict[str, Any]:
    """Measure all sides; return the figures and the ratios."""
    load = os.getloadavg()[0]
    alone, _ = measure(["-c", RAY_ALONE])
    ours = measure_side("foretune", trials, folder / "foretune")
    many = measure_side("foretune", 10 * trials, folder / "foretune-many")
    recovery = reopen(folder / "foretune-many")
    theirs = measure_side("tune class", trials, folder / "tune-class")
    sample = measure_side("tune function", min(FUNCTION_TRIALS, trials), folder / "tune-function")
    ratios = {}
    for name in ("wall", "cpu"):
        key = f"{name}_s"
        ratios[f"{name}_ratio"] = round((theirs[key] - alone[key]) / (ours[key] - alone[key]), 2)
        ratios[f"whole_{name}_ratio"] = round(theirs[key] / ours[key], 2)
    return {
        "trials": trials,
        "reports": REPORTS,
        "cores": os.cpu_count(),
        "load_before": round(load, 2),
        **ratios,
        "growth_ratio": round((many["fit_s"] / many["trials"]) / (ours["fit_s"] / ours["trials"]), 3),
        "driver_growth_bytes": many["driver_peak_bytes"] - ours["driver_peak_bytes"],
        **recovery,
        "ray_alone": alone,
        "sides": [ours, many, theirs, sample],
    }


def show(result: dict[str, Any]) -> None:
    heads = ("wall s", "CPU s", "peak MB", "driver MB", "files", "MB")
    print(f"{'side':<14}{'trials':>8}" + "".join(f"{head:>10}" for head in heads) + "  ms a trial by quarter")
    for side in result["sides"]:
        print(
            f"{side['side']:<14}{side['trials']:>8}{side['wall_s']:>10.1f}{side['cpu_s']:>10.1f}"
            f"{side['peak_bytes'] / 1e6:>10.0f}{side['driver_peak_bytes'] / 1e6:>10.0f}{side['files']:>10}"
            f"{side['bytes'] / 1e6:>10.1f}  {side['ms_a_trial_by_quarter']}"
        )
    alone = result["ray_alone"]
    print(f"{'Ray alone':<14}{'':>8}{alone['wall_s']:>10.1f}{alone['cpu_s']:>10.1f}")
    print(
        f"Ray Tune over Foretune: wall {result['wall_ratio']}, CPU {result['cpu_ratio']}; with Ray's own "
        f"start and stop: wall {result['whole_wall_ratio']}, CPU {result['whole_cpu_ratio']}"
    )
    print(
        f"ten times the trials: {result['growth_ratio']} times the cost a trial, driver "
        f"{result['driver_growth_bytes'] / 1e6:+.0f} MB; {result['recovered_curve_rows']} rows reopened in "
        f"{result['recovery_s']} s"
    )


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--trials", type=int, default=1800, help="N")
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        result = run(args.trials, Path(folder))
    if args.json:
        print(json.dumps(result, indent=2))
    else:
        show(result)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
