"""One row of a file or data set, read into an example.

A row holds ``question`` and ``answer``, or ``prompt`` and ``completion``, or ``messages`` (one turn of the
user, one of the assistant); with several of these the first in this order counts. Besides, it may hold
``split`` and ``fact``. Columns of other names are ignored. Text is taken as it stands, white space included.
"""

import reprlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from workers.tasks.records import Example

_FORMS = (("question", "answer"), ("prompt", "completion"), ("messages",))
COLUMNS = ("question", "answer", "prompt", "completion", "messages", "split", "fact")
"""All columns that are read."""
SPLIT_NAMES = {
    "train": "train",
    "validation": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}
"""How a row may call its split, in any case, and what the split is."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it lies in its source."""

    place: str
    """Where a person finds it: ``line 3``."""
    values: Mapping[str, object]


def why_no_form(columns: Collection[str]) -> str | None:
    """Return what columns of these names lack to be read, or None if nothing."""
    if any(all(name in columns for name in form) for form in _FORMS):
        return None
    for form in _FORMS:
        if any(name in columns for name in form):
            return f"no {next(name for name in form if name not in columns)}"
    found = reprlib.repr(sorted(columns))
    return f"no question and answer, nor prompt and completion, nor messages; found {found}"


def read_row(values: Mapping[str, object]) -> tuple[str | None, Example]:
    """Read a row.

    Args:
        values: Column to value.

    Returns:
        The split it names, if it names one, and the example.

    Raises:
        ValueError: The row can't be used; the text says why.
    """
    present = {name for name, value in values.items() if value is not None}
    lacking = why_no_form(present)
    if lacking is not None:
        raise ValueError(lacking)
    form = next(form for form in _FORMS if all(name in present for name in form))
    if form == ("messages",):
        question, answer = _read_messages(values["messages"])
    else:
        question, answer = (_read_text(name, values[name]) for name in form)
    return _read_split(values.get("split")), Example(question, answer, _read_fact(values.get("fact")))


def _read_text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} must be text, got {_show(value)}")
    if not value.strip():
        raise ValueError(f"{name} is empty")
    return _without_surrogates(name, value)


def _read_messages(value: object) -> tuple[str, str]:
    """Return what the user and the assistant say in a dialogue of one turn each."""
    if not isinstance(value, list) or not all(isinstance(turn, dict) for turn in value):
        raise ValueError(f"messages must be a list of objects with role and content, got {_show(value)}")
    roles = [str(turn.get("role")) for turn in value]
    if roles != ["user", "assistant"]:
        raise ValueError(
            f"messages must be one turn of the user and one of the assistant, got {reprlib.repr(roles)}"
        )
    texts = [_read_text(f"content of the {turn['role']}'s message", turn.get("content")) for turn in value]
    return texts[0], texts[1]


def _read_split(value: object) -> str | None:
    if value is None:
        return None
    split = SPLIT_NAMES.get(value.strip().lower()) if isinstance(value, str) else None
    if split is None:
        raise ValueError(f"split must be train, validation (or val, dev) or test, got {_show(value)}")
    return split


def _read_fact(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"fact must be text or a whole number, got {_show(value)}")
    return _without_surrogates("fact", str(value))


def _without_surrogates(name: str, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        raise ValueError(
            f"{name} holds half a character (surrogate U+{code:04X}), which is not text"
        ) from error
    return text


def _show(value: object) -> str:
    return f"{type(value).__name__} {reprlib.repr(value)}"
