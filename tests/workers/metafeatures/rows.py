"""Tasks of a few rows, drawn and built."""

import random

from hypothesis import strategies as st

from workers.tasks.records import SPLITS, Example, Task

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=15).filter(
    lambda text: bool(text.strip())
)
examples = st.builds(
    Example,
    texts | st.sampled_from(["who?", "Who ?"]),
    texts | st.sampled_from(["a", "b", "1, 2, 3"]),
    st.none() | st.sampled_from("xy"),
    st.sampled_from([(), (("system", "Be brief."),)]),
)
splits = st.lists(examples, min_size=1, max_size=12).map(tuple)
tasks = st.builds(Task, name=st.just("t"), train=splits, validation=splits, test=splits)


def task_of(*train: Example) -> Task:
    """A task with one validation and one test example."""
    held = (Example("v", "a"),)
    return Task(name="t", train=train, validation=held, test=held)


def shuffled(task: Task, seed: int) -> Task:
    """The same rows in another order, under another name."""
    dice = random.Random(seed)
    train, validation, test = (dice.sample(rows, len(rows)) for rows in map(task.split, SPLITS))
    return Task(name="other", train=tuple(train), validation=tuple(validation), test=tuple(test))
