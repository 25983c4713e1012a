"""What a recommender answers with: records, and their passage through JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.contracts import Config
from surrogates.data.normalisation import Direction

INTERVAL = 0.8
"""Share of outcomes that a predicted interval is meant to hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """A metric's predicted value, the best up to the planned epochs."""

    metric: str
    value: float
    low: float
    """The interval from low to high is meant to hold 80 % of such tasks."""
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PastTrial:
    """A trial that a choice rests on."""

    trial_id: str
    task_id: str
    task_name: str
    config_distance: float
    """0 if it ran that very config; 1 would be a config that differs as far as can be in every name."""
    outcome: str
    epoch: int | None
    """Of the best point up to the planned epochs; None if there is none, or the trial failed."""
    value: float | None
    """The metric at that epoch."""
    reports: Mapping[str, float]
    """Further metrics at that epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One config to run, and how far."""

    rank: int
    """In the order in which to run them, from 1."""
    config: Config
    epochs: int
    is_fresh: bool
    """Whether no past task has run this config."""
    score: Prediction
    reports: tuple[Prediction, ...]
    cost_s: float
    """Predicted seconds for its epochs, without those that an earlier choice of the same config ran."""
    is_reserve: bool
    """Whether it lies beyond the budget by what is predicted: to be run if all goes faster."""
    failure_probability: float
    expected_regret: float
    """Of the plan up to here: 0 is the best config on record, 1 the median one."""
    evidence: tuple[PastTrial, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NearTask:
    """A past task, and what its word counts."""

    task_id: str
    name: str
    distance: float | None
    """In standard deviations of the past tasks' meta-features; None where they are not known."""
    weight: float
    """Share of the say that all past tasks have, in [0, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedFrom:
    """What the recommender has seen."""

    tasks: int
    trials: int
    points: int
    base_fingerprints: tuple[str, ...]
    metric: str
    direction: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """An ordered portfolio under a budget, with what it rests on."""

    budget_s: float
    choices: tuple[Choice, ...]
    nearest_tasks: tuple[NearTask, ...]
    """All past tasks, those that count most first."""
    strangeness: float | None
    """Up to 1 is as usual as the past tasks are among themselves; None where it can't be told."""
    notes: tuple[str, ...]
    learned_from: LearnedFrom

    @property
    def cost_s(self) -> float:
        """Predicted seconds of all choices but the reserve; within the budget."""
        return sum(choice.cost_s for choice in self.choices if not choice.is_reserve)

    @property
    def best(self) -> Choice:
        """The choice from which most is expected: what to run if only one can be run."""
        sign = 1.0 if self.learned_from.direction == Direction.MAXIMISE else -1.0
        return max(self.choices, key=lambda choice: (not choice.is_reserve, sign * choice.score.value))

    def as_dict(self) -> dict[str, Any]:
        """Return plain, JSON-ready content; ``from_dict`` gives the plan back."""
        return _fields(self) | {
            "choices": [
                _fields(choice)
                | {
                    "config": dict(choice.config),
                    "score": _fields(choice.score),
                    "reports": [_fields(report) for report in choice.reports],
                    "evidence": [
                        _fields(trial) | {"reports": dict(trial.reports)} for trial in choice.evidence
                    ],
                }
                for choice in self.choices
            ],
            "nearest_tasks": [_fields(task) for task in self.nearest_tasks],
            "notes": list(self.notes),
            "learned_from": _fields(self.learned_from)
            | {"base_fingerprints": list(self.learned_from.base_fingerprints)},
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Plan":
        """Build the plan that ``as_dict`` gave.

        Args:
            content: What ``as_dict`` returned, also after a passage through JSON.

        Returns:
            A plan equal to the first.
        """
        learned = dict(content["learned_from"])
        learned["base_fingerprints"] = tuple(learned["base_fingerprints"])
        return cls(
            budget_s=content["budget_s"],
            choices=tuple(_choice(choice) for choice in content["choices"]),
            nearest_tasks=tuple(NearTask(**task) for task in content["nearest_tasks"]),
            strangeness=content["strangeness"],
            notes=tuple(content["notes"]),
            learned_from=LearnedFrom(**learned),
        )


def _choice(content: Mapping[str, Any]) -> Choice:
    return Choice(
        **{
            **content,
            "score": Prediction(**content["score"]),
            "reports": tuple(Prediction(**report) for report in content["reports"]),
            "evidence": tuple(PastTrial(**trial) for trial in content["evidence"]),
        }
    )


def _fields(record: Any) -> dict[str, Any]:
    """Return a record's fields; what is in them is left as it is, which ``dataclasses.asdict`` would copy."""
    return {name: getattr(record, name) for name in record.__slots__}
