"""Invented worlds: the built-in synthetic tasks, and the text the embedded base model is pretrained on.

Imports the contracts, the task records and the standard library; no torch.
"""

from workers.tasks.records import Task
from workers.worlds.corpus import CorpusMix, PretrainingCorpus, pretraining_corpus
from workers.worlds.knobs import SHIPPED_KNOBS, WorldKnobs
from workers.worlds.references import WorldReference, read_reference
from workers.worlds.tasks import TASK_NAMES, build_task

__all__ = [
    "SHIPPED_KNOBS",
    "TASK_NAMES",
    "CorpusMix",
    "PretrainingCorpus",
    "WorldKnobs",
    "WorldReference",
    "build_task",
    "pretraining_corpus",
    "read_reference",
    "task_from_reference",
]


def task_from_reference(reference: str) -> Task:
    """Build the task that a reference names; ``InputError`` lists what is possible where it names none.

    Args:
        reference: ``worlds:NAME``, with ``?seed=...&KNOB=...`` behind it where it differs from what ships.

    Returns:
        The task.
    """
    read = read_reference(reference)
    return build_task(read.name, seed=read.seed, knobs=read.knobs)
