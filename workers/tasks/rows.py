"""One row of a file or data set, read into an example.

A row holds ``question`` and ``answer``, or ``prompt`` and ``completion``, or ``messages``; with several of
these the first in this order counts. ``prompt`` and ``completion`` are text, or the two halves of a dialogue.
Messages are turns with ``role`` and ``content``: at most one of the system, then user and assistant in turn.
The assistant's last turn is the answer, the user's before it the question, and all before that its context.
Besides, a row may hold ``split`` and ``fact``. Columns of other names are ignored. Text is taken as it
stands, white space included.
"""

import reprlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from workers.tasks.records import Example, Turn

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
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
"""How a turn may call its speaker, and who that is."""


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
    is_dialogue = isinstance(values[form[0]], list | dict)
    if form == ("messages",) or (form == ("prompt", "completion") and is_dialogue):
        *context, (_, question), (_, answer) = _read_dialogue([values[name] for name in form])
    else:
        question, answer = (_read_text(name, values[name]) for name in form)
        context = []
    fact = _read_fact(values.get("fact"))
    return _read_split(values.get("split")), Example(question, answer, fact, tuple(context))


def _read_text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} must be text, got {_show(value)}")
    if not value.strip():
        raise ValueError(f"{name} is empty")
    return _without_surrogates(name, value)


def _read_dialogue(parts: Sequence[object]) -> list[Turn]:
    """Return a dialogue's turns, question and answer last; a blank turn of the system is none."""
    turns = [turn for part in parts for turn in _read_messages(part)]
    roles = [_ROLES.get(str(turn.get("role")), "another") for turn in turns]
    if roles[:1] == ["system"] and not str(turns[0].get("content") or "").strip():
        turns, roles = turns[1:], roles[1:]
    spoken = roles[1:] if roles[:1] == ["system"] else roles
    if not spoken or spoken != ["user", "assistant"] * (len(spoken) // 2):
        given = reprlib.repr([str(turn.get("role")) for turn in turns])
        raise ValueError(
            "messages must be of user and assistant in turn, the assistant's last, and before them at most "
            f"one of the system; got {given}"
        )
    texts = [
        _read_text(f"content of the {role}'s message", t.get("content"))
        for role, t in zip(roles, turns, strict=True)
    ]
    return list(zip(roles, texts, strict=True))


def _read_messages(value: object) -> list[Mapping[str, object]]:
    """Return the messages of one column, which some data sets keep as a list of roles and one of contents."""
    if isinstance(value, dict) and all(isinstance(value.get(name), list) for name in ("role", "content")):
        pairs = zip(value["role"], value["content"], strict=False)
        value = [{"role": role, "content": content} for role, content in pairs]
    if not isinstance(value, list) or not all(isinstance(turn, dict) for turn in value):
        raise ValueError(f"messages must be a list of objects with role and content, got {_show(value)}")
    return value


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
