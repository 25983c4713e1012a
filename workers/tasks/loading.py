"""Tasks from wherever a person keeps them, and to JSON Lines. ``rows`` says what columns are read.

Rows that name no split are split 80/10/10 by content. Of a Hugging Face data set's named splits, a validation
or test split that is missing is drawn from train, a tenth of it each; in a file whose rows name their splits
it is refused. The same question with the same answer in two splits is refused: what is tested would have been
shown. The same question with another answer is not; several answers may be right.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from orchestrator.contracts import InputError
from orchestrator.metadataset.durable import write_durably
from workers.tasks import hub
from workers.tasks.faults import Faults
from workers.tasks.files import read_file
from workers.tasks.records import SPLITS, Example, Task
from workers.tasks.rows import Row, read_row
from workers.tasks.splits import draw_splits

_WORLDS = "worlds:"
_FORMS_OF_SOURCE = (
    f"a JSONL, CSV or Parquet file, a folder saved by datasets.save_to_disk, {_WORLDS}NAME or {hub.SCHEME}ID"
)
_LINE_ENDS = {0x85: "\\u0085", 0x2028: "\\u2028", 0x2029: "\\u2029"}
"""What some readers take for the end of a line, and JSON does not escape by itself."""


def load_task(source: str, *, name: str | None = None, seed: int = 0) -> Task:
    """Load a task.

    Args:
        source: ``worlds:NAME?KNOB=VALUE``; a file (``.jsonl``, ``.ndjson``, ``.csv``, ``.tsv``,
            ``.parquet``); a folder saved by ``datasets.save_to_disk``; or ``hf:ID``, with ``@REVISION`` and
            ``:CONFIG`` behind it.
        name: What to call it; None: after the world, the file or the data set.
        seed: Of the splits drawn where the source names none.

    Returns:
        The task.

    Raises:
        InputError: There is no such source, or rows of it can't be used; the first ten are named by line and
            reason, and all are counted.
    """
    if name is not None and not name.strip():
        raise InputError(f"the name of task {source!r} is empty; leave it out to have one made")
    if source.startswith(_WORLDS):
        from workers.worlds import task_from_reference

        task = task_from_reference(source)
        return task if name is None else replace(task, name=name)
    faults = Faults(source)
    path = Path(source).expanduser()
    revision = None
    if source.startswith(hub.SCHEME):
        (rows, revision), own_name, may_draw = hub.read_hub(source), hub.hub_name(source), True
    elif not source.strip() or not path.exists():
        raise InputError(f"no task at {source!r}; give {_FORMS_OF_SOURCE}")
    elif path.is_dir():
        rows, own_name, may_draw = hub.read_saved(source, path), path.resolve().name, True
    else:
        rows, own_name, may_draw = read_file(source, path, faults), path.stem, False
    by_split = _sort_into_splits(source, rows, faults, may_draw=may_draw, seed=seed)
    splits = {split: tuple(examples) for split, examples in by_split.items()}
    return Task(name=name or own_name, revision=revision, **splits)


def save_task(task: Task, path: Path) -> None:
    """Write a task as JSON Lines, whole or not at all; loading the file gives the same ``task_id``.

    Args:
        task: The task.
        path: A file named ``.jsonl``, replaced if it is there; its folder exists. What the system refuses is
            an ``OSError``.

    Raises:
        InputError: ``load_task`` would refuse the file: an empty question or answer, an empty split, a row in
            two splits, or another ending of the name.
    """
    if path.suffix.lower() not in (".jsonl", ".ndjson"):
        raise InputError(
            f"a task is saved as JSON Lines; name the file {path.with_suffix('.jsonl').name}, not {path.name}"
        )
    rows = [
        Row(f"{split} example {number}", _values(example, split))
        for split in SPLITS
        for number, example in enumerate(task.split(split), start=1)
    ]
    where = f"task {task.name}"
    _sort_into_splits(where, rows, Faults(where), may_draw=False, seed=0)
    lines = (json.dumps(row.values, ensure_ascii=False).translate(_LINE_ENDS) + "\n" for row in rows)
    write_durably(path, "".join(lines).encode())


def _values(example: Example, split: str) -> dict[str, object]:
    values: dict[str, object] = {"question": example.question, "answer": example.answer}
    if example.context:
        turns = [*example.context, ("user", example.question), ("assistant", example.answer)]
        values = {"messages": [{"role": role, "content": text} for role, text in turns]}
    named = {} if example.fact is None else {"fact": example.fact}
    return {**values, "split": split, **named}


def _sort_into_splits(
    source: str, rows: Sequence[Row], faults: Faults, *, may_draw: bool, seed: int
) -> dict[str, list[Example]]:
    """Read rows into the three splits, each of them at least one example long, or refuse what is wrong."""
    read: list[tuple[Row, str | None, Example]] = []
    for row in rows:
        try:
            split, example = read_row(row.values)
        except ValueError as error:
            faults.add(row.place, str(error))
        else:
            read.append((row, split, example))
    is_split = any(split is not None for _, split, _ in read)
    for row, split, _ in read if is_split else ():
        if split is None:
            faults.add(row.place, "no split, though other rows name theirs")
    faults.refuse_if_any()
    if not read:
        raise InputError(f"{source} holds no rows; give one for every question with its answer")
    splits = _complete_splits(
        source, [split for _, split, _ in read], [e for _, _, e in read], may_draw, seed
    )
    _refuse_shown_examples(
        [(row.place, split, e) for (row, _, e), split in zip(read, splits, strict=True)], faults
    )
    by_split: dict[str, list[Example]] = {split: [] for split in SPLITS}
    for split, (_, _, example) in zip(splits, read, strict=True):
        by_split[split].append(example)
    return by_split


def _complete_splits(
    source: str, named: Sequence[str | None], examples: Sequence[Example], may_draw: bool, seed: int
) -> list[str]:
    """Return the split of each example, drawing those that are missing where that is allowed."""
    missing = [split for split in SPLITS if split not in named]
    splits = [split or "train" for split in named]
    is_bare = len(missing) == len(SPLITS)
    if not missing:
        return splits
    if not is_bare and (not may_draw or "train" in missing):
        raise InputError(
            f"{source} has no rows of split {' and '.join(missing)}; a task needs rows of train, validation "
            "and test, or rows that name no split and are then split 80/10/10"
        )
    held_out = [split for split in missing if split != "train"]
    indices = [index for index, split in enumerate(splits) if split == "train"]
    try:
        drawn = draw_splits([examples[index] for index in indices], held_out, seed=seed)
    except ValueError as error:
        raise InputError(f"{source}: {error}") from error
    for index, split in zip(indices, drawn, strict=True):
        splits[index] = split
    return splits


def _refuse_shown_examples(placed: Sequence[tuple[str, str, Example]], faults: Faults) -> None:
    """Refuse question-answer pairs that stand in more than one split."""
    first: dict[tuple[object, ...], tuple[str, str]] = {}
    for place, split, example in placed:
        shown = example.context, example.question, example.answer
        first_place, first_split = first.setdefault(shown, (place, split))
        if split != first_split:
            faults.add(
                place,
                f"the same question and answer in {split} as at {first_place} in {first_split}; keep one",
            )
    faults.refuse_if_any()
