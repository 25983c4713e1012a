"""What does Foretune's orchestration cost: N trials of R reports with no work in them.

    python -m benchmarks.orchestration_foretune --storage DIR [--trials N] [--reports R]

The Foretune side of ``benchmarks.orchestration``, a process of its own so that its whole tree can be
measured from outside: a sweep of rehearsed trials, from the spec to the last Parquet part, as
``foretune run`` does it.
Prints one JSON line; times in seconds.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from orchestrator.app.spec import SweepSpec, parse_spec
from orchestrator.app.sweep import run_sweep
from orchestrator.metadataset.reader import MetaDatasetReader

QUARTERS = 4
TASKS = ("compounds", "laws", "machines", "organisms", "people", "recipes", "software", "towns")


def a_spec(trials: int, reports: int) -> SweepSpec:
    """Return a sweep of so many trials on two workers, the same number for each of up to eight tasks."""
    tasks = max(count for count in range(1, len(TASKS) + 1) if trials % count == 0)
    content: dict[str, Any] = {
        "name": "orchestration",
        "base_model": "rehearsal",
        "tasks": [f"worlds:{name}" for name in TASKS[:tasks]],
        "configs": trials // tasks,
        "epochs": reports,
        "workers": {"max_count": 2},
    }
    return parse_spec(content, where="this benchmark", folder=Path())


def quarters_s(root: Path) -> list[float]:
    """Return when each quarter of the trials had finished, in seconds since the first lease."""
    events = MetaDatasetReader(root).attempts()
    times = [datetime.fromisoformat(at).timestamp() for at in events["at"]]
    finished = sorted(at for at, event in zip(times, events["event"], strict=True) if event == "finished")
    marks = [-(-len(finished) * (quarter + 1) // QUARTERS) - 1 for quarter in range(QUARTERS)]
    return [round(finished[mark] - min(times), 3) for mark in marks]


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--storage", type=Path, required=True, help="the sweep's root, new")
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--reports", type=int, default=10, help="reports a trial")
    args = parser.parse_args(argv)
    start_s = time.perf_counter()
    report = run_sweep(a_spec(args.trials, args.reports), args.storage)
    wall_s = round(time.perf_counter() - start_s, 3)
    if not report.is_done or report.snapshot.points != args.trials * args.reports:
        raise RuntimeError(f"{args.storage} holds {report.snapshot.points} points and is left unfinished")
    marks = quarters_s(args.storage)
    head = {"kind": "foretune", "trials": args.trials, "reports": args.reports}
    print(json.dumps({**head, "wall_s": wall_s, "fit_s": marks[-1], "quarters_s": marks}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
