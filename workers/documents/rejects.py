"""What does not become part of a task, and why."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum


class Stage(StrEnum):
    """What was rejected."""

    PASSAGE = "passage"
    FACT = "fact"
    PAIR = "pair"


class Reason(StrEnum):
    """Why."""

    REPEATED = "stands in another passage word for word"
    SHORT = "too short to hold a fact"
    UNANSWERED = "the model gave no usable answer"
    REFUSED = "the endpoint refused the request"
    EMPTY = "empty"
    LONG = "too long"
    OF_THE_PASSAGE = "speaks of the passage"
    UNGROUNDED = "says what the passage does not"
    DUPLICATE = "says what another one says"
    GIVEN_AWAY = "the question holds its answer"
    SURPLUS = "more than asked for"
    TOO_FEW_PAIRS = "too few pairs for it were accepted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """One thing that was rejected."""

    stage: Stage
    reason: Reason
    document: str
    passage: int
    text: str
    """The passage's beginning, the fact, or the question."""
    answer: str | None = None
    """Of a pair."""
    fact: str | None = None
    """Id of the fact that a pair is about."""
    detail: str | None = None


class Rejects:
    """All of them, in order."""

    def __init__(self) -> None:
        self._rejects: list[Reject] = []

    def add(self, reject: Reject) -> None:
        """Take one more."""
        self._rejects.append(reject)

    def __iter__(self) -> Iterator[Reject]:
        return iter(self._rejects)

    def counts(self) -> dict[str, dict[str, int]]:
        """Return how many there are: stage to reason to number, the most frequent first."""
        counted = Counter((reject.stage, reject.reason) for reject in self._rejects)
        return {
            stage.value: {
                reason.value: number for (of, reason), number in counted.most_common() if of is stage
            }
            for stage in Stage
        }

    def as_json_lines(self) -> bytes:
        """Return them as a file's content, one a line; what does not apply is left out."""
        rows = ({k: v for k, v in asdict(reject).items() if v is not None} for reject in self._rejects)
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
