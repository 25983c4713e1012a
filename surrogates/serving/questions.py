"""Questions and answers as they travel between processes: JSON, and errors by name."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic_core import from_json, to_json

from orchestrator.contracts import (
    Config,
    CorruptLedgerError,
    InputError,
    NothingLearnedError,
    OrchestrationError,
    Scalar,
)
from surrogates.data.space import is_number
from surrogates.plan import Plan

QUESTION = ("features", "budget_s")
"""What every question has."""
OPTIONAL = ("candidates", "k", "task_id", "base_fingerprint", "fixed", "excluded")
"""What it may have, as ``Recommender.plan`` takes it."""
KINDS: Mapping[str, type[OrchestrationError]] = {
    kind.__name__: kind for kind in (InputError, NothingLearnedError, CorruptLedgerError)
}
"""Errors that travel, by name."""
ERRORS: tuple[type[OrchestrationError], ...] = tuple(KINDS.values())
PLAN = "plan"
"""Kind of an answer that holds a plan; any other kind is an error's name."""


class SurrogateUnavailableError(OrchestrationError):
    """The surrogate did not answer: it is restarting, or gone; ask again, or serve the root again."""

    def __init__(self, root: str, reason: str) -> None:
        super().__init__(root, reason)
        self.root, self.reason = root, reason

    def __str__(self) -> str:
        return (
            f"the surrogate of {self.root} did not answer ({self.reason}); ask again in some seconds, "
            "or start it anew with `foretune serve`"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A plan, and which state of the surrogate gave it."""

    plan: Plan
    version: int
    """Grows by one with every state that is taken into service; the same version answers the same."""
    learned_at: str
    """When that state was learned: ISO 8601, UTC."""


def question(
    features: Mapping[str, float],
    budget_s: float,
    *,
    candidates: Sequence[Config] | None = None,
    k: int | None = None,
    task_id: str | None = None,
    base_fingerprint: str | None = None,
    fixed: Mapping[str, Scalar] | None = None,
    excluded: Mapping[str, Sequence[Scalar]] | None = None,
) -> dict[str, Any]:
    """Put a question together; the arguments are those of ``Recommender.plan``.

    Args:
        features: The task's meta-features.
        budget_s: Seconds, above 0.
        candidates: Configs to choose from; None: the surrogate's own.
        k: At most so many choices.
        task_id: The task's id, to leave its own results out.
        base_fingerprint: The base model asked for.
        fixed: Values that every choice must have.
        excluded: Values, by name, that no choice may have.

    Returns:
        Plain values; what is None is left out.
    """
    asked = {
        "features": dict(features),
        "budget_s": budget_s,
        "candidates": None if candidates is None else [dict(config) for config in candidates],
        "k": k,
        "task_id": task_id,
        "base_fingerprint": base_fingerprint,
        "fixed": dict(fixed) if fixed else None,
        "excluded": {name: list(values) for name, values in excluded.items()} if excluded else None,
    }
    return {name: value for name, value in asked.items() if value is not None}


def checked(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Refuse a question of the wrong shape; what it says is for the recommender to judge.

    Args:
        asked: What arrived.

    Returns:
        The question; what was None is left out.

    Raises:
        InputError: A name is missing or unknown, or a value is of the wrong kind.
    """
    known = {*QUESTION, *OPTIONAL}
    wrong = sorted(set(asked) - known) + sorted(set(QUESTION) - set(asked))
    if wrong:
        raise InputError(
            f"a question has {', '.join((*QUESTION, *OPTIONAL))}; unknown or missing: {', '.join(wrong)}"
        )
    given = {name: value for name, value in asked.items() if value is not None}
    problems = [
        f"{name} must be {what}, got {given[name]!r:.80}"
        for name, what, is_right in (
            ("features", "numbers by name", _are_numbers),
            ("budget_s", "a number of seconds", is_number),
            ("candidates", "a list of configs", _are_configs),
            ("k", "a whole number", lambda value: is_number(value) and float(value).is_integer()),
            ("task_id", "text", lambda value: isinstance(value, str)),
            ("base_fingerprint", "text", lambda value: isinstance(value, str)),
            ("fixed", "values by name", _is_config),
            ("excluded", "lists of values by name", _are_lists),
        )
        if name in given and not is_right(given[name])
    ]
    if problems:
        raise InputError(*problems)
    features = {name: value for name, value in given["features"].items() if value is not None}
    return given | {"features": features}


def key_of(asked: Mapping[str, Any]) -> str:
    """Return a text that is the same for the same question, in whatever order it was put."""
    return json.dumps(asked, sort_keys=True, default=_plain)


def encode_question(asked: Mapping[str, Any], at_least: int) -> bytes:
    """Return a question, and the version that must answer at least, as JSON; what is not plain is refused."""
    return json.dumps([asked, at_least], default=_plain).encode()


def encode_answer(plan: Plan, *, version: int, learned_at: str) -> bytes:
    """Return an answer as JSON, its version first (see ``version_of``), its plan as ``as_dict`` has it."""
    content = {"version": version, "learned_at": learned_at, "plan": plan}
    return to_json(content, fallback=_plain)


def version_of(body: bytes) -> int:
    """Return the version of an answer that ``encode_answer`` wrote; the rest of it is not read."""
    return int(body[body.index(b":") + 1 : body.index(b",")])


def decode(kind: str, body: bytes) -> Answer:
    """Take an answer apart.

    Args:
        kind: ``plan``, or an error's name.
        body: The JSON.

    Returns:
        The answer.

    Raises:
        InputError: The question can't be answered.
        NothingLearnedError: There is nothing to answer from.
        CorruptLedgerError: What there is to learn from can't be read.
    """
    content = from_json(body)
    if kind != PLAN:
        raise KINDS[kind](*content)
    return Answer(
        plan=Plan.from_dict(content["plan"]), version=content["version"], learned_at=content["learned_at"]
    )


def _plain(value: Any) -> Any:
    """Return what JSON takes of a mapping or of a numpy number."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} is not plain")


def _are_numbers(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and (item is None or is_number(item)) for name, item in value.items()
    )


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, str | bool) or (is_number(value) and math.isfinite(value))


def _is_config(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and _is_scalar(item) for name, item in value.items()
    )


def _are_configs(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(map(_is_config, value))


def _are_lists(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and isinstance(items, list | tuple) and all(map(_is_scalar, items))
        for name, items in value.items()
    )
