"""How soon does another process read a point that a worker has reported? At most two seconds, is the promise.

    python benchmarks/freshness.py [--epoch-s 0.2] [--json]

Runs a sweep of rehearsed trials and looks, from this process, at two things every 20 ms: the checkpoints,
which a worker writes just before it reports an epoch, and the Parquet of the curves. Prints the seconds
between the first sight of a point in the one and in the other: median, 99th percentile, maximum.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import yaml

from orchestrator.metadataset.reader import MetaDatasetReader

LOOK_S = 0.02
SPEC = {
    "name": "freshness",
    "tasks": ["worlds:towns", "worlds:people"],
    "configs": 20,
    "epochs": 10,
}

Point = tuple[str, int]


def look(root: Path, reported_s: dict[Point, float], readable_s: dict[Point, float]) -> None:
    """Note when each point is seen for the first time."""
    for path in root.glob("checkpoints/*/attempt-*/rehearsal.json"):
        try:
            states = json.loads(path.read_text())
        except (FileNotFoundError, ValueError):
            continue  # the trial has just ended
        for epoch in range(1, len(states) + 1):
            reported_s.setdefault((path.parent.parent.name, epoch), time.perf_counter())
    curves = MetaDatasetReader(root).curves(columns=["trial_id", "epoch"])
    now_s = time.perf_counter()
    for trial_id, epoch in zip(curves["trial_id"], curves["epoch"], strict=True):
        readable_s.setdefault((trial_id, int(epoch)), now_s)


def measure(epoch_s: float, folder: Path) -> dict[str, float]:
    """Run the sweep and watch it; return the lags in seconds."""
    spec = folder / "freshness.yaml"
    spec.write_text(yaml.safe_dump({**SPEC, "base_model": f"rehearsal:{epoch_s}"}))
    root = folder / "root"
    command = [sys.executable, "-m", "orchestrator.cli", "run", str(spec), "--root", str(root)]
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    reported_s: dict[Point, float] = {}
    readable_s: dict[Point, float] = {}
    slowest_look_s = 0.0
    while driver.poll() is None:
        begun_s = time.perf_counter()
        look(root, reported_s, readable_s)
        slowest_look_s = max(slowest_look_s, time.perf_counter() - begun_s)
        time.sleep(LOOK_S)
    look(root, reported_s, readable_s)
    if driver.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {driver.returncode}")
    # The last epochs of a trial are seen in its checkpoint only if a look falls between its save and its end.
    lags = sorted(readable_s[point] - reported_s[point] for point in reported_s.keys() & readable_s.keys())
    return {
        "points": len(readable_s),
        "watched_points": len(lags),
        "median_s": round(statistics.median(lags), 3),
        "p99_s": round(lags[int(0.99 * (len(lags) - 1))], 3),
        "max_s": round(lags[-1], 3),
        "slowest_look_s": round(slowest_look_s, 3),
    }


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--epoch-s", type=float, default=0.2, help="seconds an epoch takes")
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        result = measure(args.epoch_s, Path(folder))
    if args.json:
        print(json.dumps(result))
    else:
        print(", ".join(f"{name} {value}" for name, value in result.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
