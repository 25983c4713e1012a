"""Splits for tasks that come without: drawn by content, whatever the order of the rows."""

from collections.abc import Sequence

from orchestrator.contracts import digest
from workers.tasks.records import Example

HELD_OUT_SHARE = 0.1
"""Share of the examples that goes to each split drawn beside train."""


def draw_splits(examples: Sequence[Example], held_out: Sequence[str], *, seed: int) -> list[str]:
    """Draw which examples are held out; what words one fact, or asks one question, stays together.

    Groups of examples go, in an order keyed by their content, to the emptiest held-out split that they fit
    into, and else to train. So a split is never larger than its share, unless one group alone is.

    Args:
        examples: In any order.
        held_out: Names of the splits drawn beside train.
        seed: Another seed draws others.

    Returns:
        The split of each example.

    Raises:
        ValueError: There are fewer groups than splits.
    """
    groups = _group(examples)
    if len(groups) <= len(held_out):
        raise ValueError(
            f"{len(examples)} rows with {len(groups)} different facts or questions can't be split into "
            f"{', '.join(['train', *held_out])}; give more rows, or name their split in a column `split`"
        )
    groups.sort(key=lambda group: _key(seed, [examples[index] for index in group]))
    room = max(1, round(HELD_OUT_SHARE * len(examples)))
    filled: dict[str, list[int]] = {split: [] for split in held_out}
    rest = []
    for group in groups:
        split = min(held_out, key=lambda name: len(filled[name]))
        if len(filled[split]) + len(group) <= room:
            filled[split] += group
        else:
            rest.append(group)
    rest.sort(key=len, reverse=True)
    for split in held_out:
        filled[split] = filled[split] or rest.pop()
    placed = {index: split for split, indices in filled.items() for index in indices}
    return [placed.get(index, "train") for index in range(len(examples))]


def _group(examples: Sequence[Example]) -> list[list[int]]:
    """Return the indices, those together that share a fact or, but for case and space, a question."""
    parent = list(range(len(examples)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    first: dict[tuple[str, str], int] = {}
    for index, example in enumerate(examples):
        keys = [("question", " ".join(example.question.casefold().split()))]
        if example.fact is not None:
            keys.append(("fact", example.fact))
        for key in keys:
            parent[root(index)] = root(first.setdefault(key, index))
    groups: dict[int, list[int]] = {}
    for index in range(len(examples)):
        groups.setdefault(root(index), []).append(index)
    return list(groups.values())


def _key(seed: int, group: Sequence[Example]) -> str:
    """Return where a group stands in the order drawn by this seed, whatever the order within it."""
    return digest([seed, sorted(_identity(example) for example in group)])


def _identity(example: Example) -> list[str]:
    said = [text for turn in example.context for text in turn]
    return [example.question, example.answer, example.fact or "", *said]
