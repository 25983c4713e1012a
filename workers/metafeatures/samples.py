"""A few examples of many, chosen by their content, so that the order of the rows is no matter."""

from collections.abc import Sequence

from orchestrator.contracts import digest
from workers.tasks.records import Example


def chosen_by_content(examples: Sequence[Example], most: int) -> list[int]:
    """Choose at most so many examples, and an order for them.

    Args:
        examples: Of one split.
        most: How many at most.

    Returns:
        Their indices, ordered by a hash of question and answer: as good as at random, and the same examples
        in the same order however the split is ordered.
    """
    keys = [
        (digest([example.question, example.answer]), example.fact or "", example.context)
        for example in examples
    ]
    return sorted(range(len(examples)), key=lambda index: keys[index])[:most]
