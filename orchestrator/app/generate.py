"""Writing the built-in synthetic tasks to files."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestrator.contracts import InputError
from workers.tasks.loading import save_task
from workers.worlds import TASK_NAMES, build_task


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenTask:
    """A task that lies on disk."""

    name: str
    path: Path
    facts: int
    train: int
    validation: int
    test: int

    def as_dict(self) -> dict[str, Any]:
        """Return the record as JSON-like values."""
        return asdict(self) | {"path": str(self.path)}


def generate_worlds(out: Path, *, seed: int = 0, names: list[str] | None = None) -> list[WrittenTask]:
    """Write built-in tasks as JSONL files named after them.

    Args:
        out: Folder, made if missing.
        seed: World seed.
        names: Which tasks; None: all eight.

    Returns:
        What was written, in order.

    Raises:
        InputError: A name is unknown, or the folder can't be written; then nothing is.
    """
    unknown = sorted(set(names or ()) - set(TASK_NAMES))
    if unknown:
        raise InputError(f"no built-in task {', '.join(unknown)}; there are {', '.join(TASK_NAMES)}")
    tasks = [build_task(name, seed=seed) for name in names or TASK_NAMES]
    try:
        out.mkdir(parents=True, exist_ok=True)
        for task in tasks:
            save_task(task, out / f"{task.name}.jsonl")
    except OSError as err:
        raise InputError(f"{out} can't be written: {err.strerror}") from err
    return [
        WrittenTask(
            name=task.name,
            path=out / f"{task.name}.jsonl",
            facts=len({example.fact for example in task.train}),
            train=len(task.train),
            validation=len(task.validation),
            test=len(task.test),
        )
        for task in tasks
    ]
