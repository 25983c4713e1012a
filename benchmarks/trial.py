"""What does a trial cost, against the same trial by transformers' Trainer with peft and by TRL's SFTTrainer?

    pip install -c constraints.txt -e '.[benchmarks]'
    python -m benchmarks.trial [--rounds N] [--base MODEL] [--device cuda] [--dtype bfloat16] [--json]

Every round runs each contender once, in turn, in this one warm process; the first round warms up and does not
count. ``cold`` runs the Trainer in a process of its own, imports and all. All train the same examples in the
same batches from the same initial adapter (rank 16, all linear layers, no dropout, fused AdamW, cosine), and
evaluate the loss on validation and test after each epoch. Foretune besides generates answers for both splits
and writes a checkpoint every epoch, the others do neither; ``net`` is the wall time without generation.
``shuffled`` is the Trainer as it comes, which draws batches without regard to length. The losses after every
epoch are compared: the last line says how far they are apart at most.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from benchmarks.trial_contenders import Curve, Setting, run_foretune, run_sft_trainer, run_trainer

CONTENDERS: dict[str, Callable[[Setting, Path], Curve]] = {
    "foretune": run_foretune,
    "trainer": run_trainer,
    "shuffled": lambda setting, folder: run_trainer(setting, folder, order="random"),
    "sft": run_sft_trainer,
}


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one contender needed, medians over the rounds."""

    contender: str
    wall_s: float
    cpu_s: float
    tokens_per_s: float
    """Training tokens over wall seconds, evaluation included."""
    generation_s: float
    """Of the wall seconds, those spent on generating answers."""


def measure(name: str, setting: Setting, folder: Path) -> tuple[float, float, Curve]:
    """Run a contender once; return wall seconds, CPU seconds and its curve."""
    wall, cpu = time.perf_counter(), time.process_time()
    curve = CONTENDERS[name](setting, folder)
    return time.perf_counter() - wall, time.process_time() - cpu, curve


def measure_cold(arguments: list[str]) -> tuple[float, float]:
    """Run the Trainer in a process of its own; return wall and CPU seconds."""
    before, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "benchmarks.trial", "--only", "trainer", *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - wall, cpu


def compare(setting: Setting, rounds: int, arguments: list[str]) -> dict[str, object]:
    """Run all contenders in turn and put the figures together."""
    runs: dict[str, list[tuple[float, float, Curve]]] = {name: [] for name in CONTENDERS}
    cold: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds + 1):
            for name in CONTENDERS:
                run = measure(name, setting, Path(folder) / f"{name}-{number}")
                if number:
                    runs[name].append(run)
            if number:
                cold.append(measure_cold(arguments))
            print(f"round {number} of {rounds}", file=sys.stderr)
    rows = [_summary(name, measured) for name, measured in runs.items()]
    ours = runs["foretune"]
    theirs = {name: [run[:2] for run in measured] for name, measured in runs.items() if name != "foretune"}
    ratios = {name: _ratios(times, ours) for name, times in {**theirs, "cold trainer": cold}.items()}
    apart = max(
        abs(a - b)
        for name in ("trainer", "sft")
        for a, b in zip(runs[name][0][2].eval_losses, ours[0][2].eval_losses, strict=True)
    )
    return {
        "setting": asdict(setting),
        "device": torch.cuda.get_device_name() if setting.device == "cuda" else "cpu",
        "contenders": [asdict(row) for row in rows],
        "ratios": ratios,
        "eval_losses": {name: runs[name][0][2].eval_losses for name in CONTENDERS},
        "largest_loss_difference": apart,
    }


def _ratios(theirs: list[tuple[float, float]], ours: list[tuple[float, float, Curve]]) -> dict[str, float]:
    """Return the medians over the rounds of what another needed over what Foretune needed."""
    pairs = list(zip(theirs, ours, strict=True))
    return {
        "wall": statistics.median(wall / own for (wall, _), (own, _, _) in pairs),
        "cpu": statistics.median(cpu / own for (_, cpu), (_, own, _) in pairs),
        "net": statistics.median(wall / (own - curve.generation_s) for (wall, _), (own, _, curve) in pairs),
    }


def _summary(name: str, runs: list[tuple[float, float, Curve]]) -> Measured:
    return Measured(
        contender=name,
        wall_s=statistics.median(run[0] for run in runs),
        cpu_s=statistics.median(run[1] for run in runs),
        tokens_per_s=statistics.median(run[2].tokens / run[0] for run in runs),
        generation_s=statistics.median(run[2].generation_s for run in runs),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--examples", type=int, default=128, help="examples an epoch, whole batches")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--task", default="worlds:people")
    parser.add_argument("--base", default="tiny-phi3")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--only", choices=tuple(CONTENDERS), help="run one contender once and nothing else")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    setting = Setting(
        base=options.base,
        task=options.task,
        device=options.device,
        dtype=options.dtype,
        epochs=options.epochs,
        examples_per_epoch=options.examples,
        batch_size=options.batch_size,
    )
    if options.only:
        with tempfile.TemporaryDirectory() as folder:
            print(measure(options.only, setting, Path(folder))[:2])
        return
    passed_on = [argument for argument in sys.argv[1:] if argument != "--json"]
    result = compare(setting, options.rounds, passed_on)
    if options.json:
        print(json.dumps(result, indent=2))
        return
    for row in (Measured(**item) for item in result["contenders"]):  # type: ignore[attr-defined]
        print(
            f"{row.contender:10} {row.wall_s:6.2f} s wall  {row.cpu_s:6.2f} s CPU"
            f"  {row.tokens_per_s:7.0f} tokens/s  of it generation {row.generation_s:.2f} s"
        )
    for name, ratio in result["ratios"].items():  # type: ignore[attr-defined]
        print(
            f"{name} over foretune: wall {ratio['wall']:.2f}, CPU {ratio['cpu']:.2f}, net {ratio['net']:.2f}"
        )
    print(f"losses differ by at most {result['largest_loss_difference']:.2e} nats")


if __name__ == "__main__":
    main()
