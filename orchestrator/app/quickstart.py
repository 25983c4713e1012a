"""The whole story in one command, with real parts, on the embedded default.

Each chapter is a command that a person could have typed; the sweep's driver is a process of its own, so that
it can be killed for real.
"""

import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import orchestrator
from orchestrator.app.advice import Advice, recommend
from orchestrator.app.finetune import FinetuneResult, finetune
from orchestrator.app.generate import generate_worlds
from orchestrator.app.serving import serving
from orchestrator.app.spec import load_spec
from orchestrator.app.status import certify, status_of
from orchestrator.app.zero_shot import zero_shot
from orchestrator.contracts import Config, OrchestrationError
from orchestrator.metadataset.reader import MetaDatasetReader
from workers.models.base import load_base
from workers.training.evaluation import SplitMetrics

SPEC = Path(orchestrator.__file__).resolve().parents[1] / "examples" / "quickstart.yaml"
NEW_TASK = "machines"
BUDGET_S = 60.0
_KILL_AFTER_POINTS = 60
_CHAPTER_TIMEOUT_S = 1800.0


class ChapterFailedError(OrchestrationError):
    """A command of the story did not end as it must."""

    def __init__(self, command: str, exit_code: int) -> None:
        super().__init__(command, exit_code)
        self.command, self.exit_code = command, exit_code

    def __str__(self) -> str:
        return f"`{self.command}` ended with exit code {self.exit_code}; run it by hand to see why"


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What a quickstart came to."""

    root: Path
    finished_trials: int
    points: int
    new_task: str
    zero_shot_exact_match: float
    """Of the untrained base model on the new task's test split."""
    results: tuple[FinetuneResult, ...]
    """The default config's, then the recommended one's."""
    wall_s: float

    def as_dict(self) -> dict[str, Any]:
        """Return the story as JSON-like values."""
        content: dict[str, Any] = json.loads(json.dumps(asdict(self), default=str))
        return content


def quickstart(folder: Path, *, console: Console) -> Story:
    """Tell the story; everything it makes lies under the folder.

    Args:
        folder: Usually ``runs`` in the current folder.
        console: Where the story goes; a quiet one silences the commands too.

    Returns:
        What it came to.

    Raises:
        OrchestrationError: A chapter did not end as it must.
    """
    began_s = time.monotonic()
    root, worlds = folder / "quickstart", folder / "worlds"
    new_task = worlds / f"{NEW_TASK}.jsonl"
    spec = load_spec(SPEC)

    _headline(console, "1. Tasks about invented worlds", f"foretune generate worlds --out {worlds}")
    for task in generate_worlds(worlds):
        console.print(f"  {task.name}: {task.facts} facts, {task.train} training questions", highlight=False)

    _headline(
        console,
        f"2. A sweep on {len(spec.tasks)} of them",
        f"foretune run examples/{SPEC.name} --root {root}",
    )
    _run_and_kill(root, console)

    _headline(console, "3. Continue it", f"foretune resume {root}")
    _command(["resume", str(root)], console)
    status = status_of(root)
    console.print(status.render())

    _headline(console, "4. Was anything lost or doubled?", f"foretune verify {root}")
    (certificate,) = certify(root, None)
    console.print(certificate.render(), highlight=False, markup=False)
    if not certificate.ok:
        raise ChapterFailedError(f"foretune verify {root}", 1)

    _headline(
        console,
        "5. A new task, never tuned on",
        f"foretune serve {root}; foretune recommend {new_task} --budget {BUDGET_S:g}s",
    )
    with serving(root):
        advice = recommend(str(new_task), BUDGET_S, root=root, k=3)
    console.print(advice.render())

    _headline(console, f"6. Finetune {NEW_TASK}: the best choice, and the default config beside it", None)
    results = finetune(
        str(new_task),
        _contestants(advice),
        root=folder / "tuned" / NEW_TASK,
        like=spec,
        epochs=advice.plan.best.epochs,
    )
    base = load_base(spec.base_model, dtype=spec.training.compute_dtype)
    untrained = zero_shot(advice.task, base, spec.training_settings())
    console.print(_comparison(untrained, results))
    wall_s = time.monotonic() - began_s
    _headline(console, f"Done in {wall_s:.0f} s: where everything lies, what is next", None)
    _farewell(console, root, new_task, results)
    return Story(
        root=root,
        finished_trials=status.finished,
        points=status.points,
        new_task=NEW_TASK,
        zero_shot_exact_match=untrained.exact_match,
        results=tuple(results),
        wall_s=wall_s,
    )


def _headline(console: Console, title: str, command: str | None) -> None:
    console.print(f"\n[bold]{title}[/bold]", highlight=False, soft_wrap=True)
    if command:
        console.print(f"  $ {command}", highlight=False, markup=False, soft_wrap=True)


def _argv(arguments: list[str]) -> list[str]:
    return [sys.executable, "-m", "orchestrator.cli", *arguments]


def _output(console: Console) -> int | None:
    """Return where a command's own output goes: where ours does, or nowhere."""
    return subprocess.DEVNULL if console.quiet else None


def _command(arguments: list[str], console: Console) -> None:
    command = _argv(arguments)
    done = subprocess.run(command, stdout=_output(console), check=False, timeout=_CHAPTER_TIMEOUT_S)
    exit_code = done.returncode
    if exit_code != 0:
        raise ChapterFailedError(" ".join(["foretune", *arguments]), exit_code)


def _run_and_kill(root: Path, console: Console) -> None:
    """Run the sweep's driver and kill it once it has written some of its rows."""
    arguments = ["run", str(SPEC), "--root", str(root)]
    reader = MetaDatasetReader(root)
    driver = subprocess.Popen(_argv(arguments), stdout=_output(console))
    try:
        while (exit_code := driver.poll()) is None and len(reader.curves()) < _KILL_AFTER_POINTS:
            time.sleep(0.2)
    finally:
        driver.kill()
        driver.wait()
    if exit_code is None:
        console.print(
            f"  kill -9 {driver.pid}: the driver is gone; {len(reader.curves())} curve points and "
            f"{len(reader.trials())} outcomes are on disk",
            highlight=False,
        )
    elif exit_code == 0:
        console.print("  The sweep was finished before; there is nothing left to kill", highlight=False)
    else:
        raise ChapterFailedError(" ".join(["foretune", *arguments]), exit_code)


def _contestants(advice: Advice) -> dict[str, Config]:
    """Return the configs to finetune with, by the labels of the comparison."""
    return {"default config": advice.default_config, "recommended": advice.plan.best.config}


def _comparison(untrained: SplitMetrics, results: list[FinetuneResult]) -> Table:
    table = Table(box=None, padding=(0, 2), header_style="bold")
    for column in ("", "epoch", "test loss", "test exact match", "test token F1", "training"):
        table.add_column(column, justify="left" if column == "" else "right")
    scores = (f"{untrained.loss:.3f}", f"{untrained.exact_match:.2f}", f"{untrained.token_f1:.2f}")
    table.add_row("zero-shot", "-", *scores, "-")
    for result in results:
        scores = (f"{result.test_loss:.3f}", f"{result.test_exact_match:.2f}", f"{result.test_token_f1:.2f}")
        table.add_row(result.label, str(result.epoch), *scores, f"{result.train_s:.1f} s")
    return table


def _farewell(console: Console, root: Path, new_task: Path, results: list[FinetuneResult]) -> None:
    lines = [
        f"  curves     pandas.read_parquet({str(root / 'curves')!r})",
        f"  trials     pandas.read_parquet({str(root / 'trials')!r})",
        f"  adapter    peft.PeftModel.from_pretrained(base, {str(results[-1].adapter)!r})",
        f"  next       foretune recommend {new_task} --budget 60s --root {root} --format peft",
        f"             foretune verify {root}",
        "             foretune run examples/tiny-1800.yaml --root runs/tiny-1800 --dry-run",
    ]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
