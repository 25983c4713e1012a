import pickle

import pytest

from orchestrator.contracts import errors
from orchestrator.contracts.errors import (
    CorruptLedgerError,
    InputError,
    InvalidConfigError,
    LeaseLostError,
    NothingLearnedError,
    OrchestrationError,
    RootInUseError,
    SweepInterruptedError,
    WorkerStalledError,
)

EXAMPLES = [
    InputError("a is wrong", "b is wrong"),
    RootInUseError("runs/a", "pid 7 on host"),
    LeaseLostError("t1", 0, 2),
    CorruptLedgerError("wal-1.log", "frame 3 has a bad checksum"),
    InvalidConfigError("no such module"),
    NothingLearnedError("no finished trial"),
    SweepInterruptedError("the head is gone"),
    WorkerStalledError("w1", 1800.0),
]


def test_every_error_of_ours_is_among_the_examples() -> None:
    ours = {
        item
        for item in vars(errors).values()
        if isinstance(item, type) and issubclass(item, OrchestrationError) and item is not OrchestrationError
    }
    assert {type(example) for example in EXAMPLES} == ours


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_error_crosses_processes_whole(error: OrchestrationError) -> None:
    arrived = pickle.loads(pickle.dumps(error))
    assert type(arrived) is type(error)
    assert (str(arrived), vars(arrived)) == (str(error), vars(error))


def test_one_problem_is_one_sentence_and_several_are_counted() -> None:
    assert str(InputError("seeds is empty")) == "seeds is empty"
    assert str(InputError("a", "b")) == "2 problems:\n  - a\n  - b"
