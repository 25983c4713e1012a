"""One question: what is predicted for a task, and the plan that follows."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from surrogates.data.normalisation import Array
from surrogates.models.neighbours import likeness
from surrogates.plan import Choice, LearnedFrom, NearTask, Plan, Prediction
from surrogates.planning.candidates import Candidates
from surrogates.planning.knowledge import Knowledge
from surrogates.planning.parts import Part
from surrogates.planning.portfolio import (
    Pick,
    Samples,
    build_portfolio,
    expected_goodness,
    rounded_up,
    smallest_budget_s,
)
from surrogates.planning.predictions import predictions

_MOST_CHOICES = 40
_MOST_USUAL = 1.0
"""Strangeness up to which a task's meta-features are believed."""
_EVIDENCE_TASKS = 3
_MUCH = 1.25
"""Factor between seconds from which a plan says why they are so."""
_LONE_NODES, _LONE_WEIGHTS = np.array([-1.28, 0.0, 1.28]), np.array([0.2, 0.6, 0.2])
"""With one past task there are no deviations between tasks; the model's error on configs stands in."""


class Question:
    """A task's meta-features against what has been learned.

    Args:
        learned: What has been learned.
        features: The task's meta-features.
        pool: The candidates.
    """

    def __init__(self, learned: Knowledge, features: Mapping[str, float], pool: Candidates) -> None:
        self._learned, self._pool = learned, pool
        self._features = learned.features.encode([features])[0]
        self._distances = learned.neighbourhood.distances(self._features)
        self._told = features
        self._strangeness = learned.strangeness.score(features)
        self._beyond = learned.workloads.beyond(features)
        # Of a task unlike everything seen, or of which nothing is known, its meta-features may say anything.
        self._is_usual = self._strangeness is not None and self._strangeness <= _MOST_USUAL
        self._is_usual &= not np.isnan(self._features).all()
        bandwidth = learned.neighbourhood.bandwidth if self._is_usual else np.inf
        self._weights = likeness(self._distances, bandwidth)
        # In each sample the new task deviates from the prediction as one past task did.
        foresight = pool.usual if self._is_usual else pool.unknown
        self._sampled = foresight.sampled(self._weights, self._features if self._is_usual else None)
        samples = Samples(
            goodness=learned.readings.find(self._sampled).read(learned.readings.goodness).transpose(1, 2, 0),
            weights=self._weights,
            cost_s=learned.costs.seconds(pool.cost_parts, self._features, self._beyond),
            factors=learned.costs.factors,
        )
        self._samples = samples.averaged() if Part.UNCERTAINTY in learned.without else samples

    def plan(self, budget_s: float, k: int | None) -> Plan:
        """Return the plan.

        Args:
            budget_s: Seconds, above 0.
            k: At most so many choices; None: as many as fill budget and reserve, up to 40.

        Returns:
            The plan.

        Raises:
            InputError: The budget is too small for any candidate.
        """
        picks = build_portfolio(self._samples, budget_s, most=_MOST_CHOICES if k is None else k)
        least = smallest_budget_s(self._samples.cost_s)
        order = self._nearest_order()
        meta = self._learned.meta
        return Plan(
            budget_s=budget_s,
            choices=self._choices(picks, order[:_EVIDENCE_TASKS]),
            nearest_tasks=self._near_tasks(order),
            strangeness=self._strangeness,
            notes=(*self._learned.notes, *self._notes(), *_too_small(budget_s, least)),
            learned_from=LearnedFrom(
                tasks=len(meta.tasks),
                trials=len(meta.trials),
                points=len(meta.points),
                base_fingerprints=meta.base_fingerprints,
                metric=meta.metric,
                direction=meta.direction.value,
            ),
        )

    def _choices(self, picks: Sequence[Pick], near: Sequence[int]) -> tuple[Choice, ...]:
        learned, pool = self._learned, self._pool
        at = np.array([pick.candidate for pick in picks])
        failing = self._failing(at).tolist()
        regrets = (1.0 - expected_goodness(self._samples, picks)).tolist()
        told = self._predictions(at, np.array([pick.fidelity for pick in picks]))
        choices = []
        for rank, (pick, (score, *reports)) in enumerate(zip(picks, told, strict=True)):
            choices.append(
                Choice(
                    rank=rank + 1,
                    config=dict(pool.configs[pick.candidate]),
                    epochs=int(learned.table.epochs[pick.fidelity]),
                    is_fresh=bool(pool.places[pick.candidate] < 0),
                    score=score,
                    reports=tuple(reports),
                    cost_s=pick.cost_s,
                    is_reserve=pick.is_reserve,
                    failure_probability=failing[rank],
                    expected_regret=regrets[rank],
                    evidence=learned.evidence.trials(pool.nearest, pick.candidate, near, pick.fidelity),
                )
            )
        return tuple(choices)

    def _failing(self, at: NDArray[np.int64]) -> Array:
        failures, pool = self._learned.failures, self._pool
        if pool.failing is None:
            return failures.predict(pool.encoded[at], pool.places[at], self._features)
        return failures.predict_prepared(pool.failing, at, pool.places[at], self._features)

    def _predictions(
        self, candidates: NDArray[np.int64], fidelities: NDArray[np.int64]
    ) -> list[list[Prediction]]:
        """Return, choice by choice, the metric and the reports as each past task would read the samples."""
        learned = self._learned
        scores = self._sampled[fidelities, :, candidates]
        weights = self._weights
        if scores.shape[1] == 1:
            scores, weights = scores + _LONE_NODES * learned.model.spread, _LONE_WEIGHTS
        return predictions(
            learned.readings,
            scores,
            scale_weights=self._weights,
            sample_weights=weights,
            margin=learned.margin if self._is_usual else learned.unknown_margin,
            metric=learned.meta.metric,
            direction=learned.meta.direction,
        )

    def _nearest_order(self) -> list[int]:
        known = np.where(np.isnan(self._distances), np.inf, self._distances)
        order: list[int] = np.lexsort((known, -self._weights)).tolist()
        return order

    def _near_tasks(self, order: Sequence[int]) -> tuple[NearTask, ...]:
        tasks, distances, weights = self._learned.meta.tasks, self._distances.tolist(), self._weights.tolist()
        return tuple(
            NearTask(
                task_id=tasks[place].task_id,
                name=tasks[place].name,
                distance=None if math.isnan(distances[place]) else distances[place],
                weight=weights[place],
            )
            for place in order
        )

    def _notes(self) -> list[str]:
        notes = []
        names = self._learned.features.names
        missing = [name for name, value in zip(names, self._features, strict=True) if np.isnan(value)]
        if names and len(missing) == len(names):
            notes.append("no meta-feature of the task is known: every past task counts alike")
        elif missing:
            notes.append(f"answered without the meta-features {', '.join(missing)}")
        if self._strangeness is not None and self._strangeness > _MOST_USUAL:
            judgement = self._learned.strangeness.judge(self._told)
            assert judgement is not None
            notes.append(
                f"the task is unlike everything seen (strangeness {judgement.score:.3f}, most of all "
                f"in {', '.join(judgement.reasons)}): its meta-features tell only the costs, "
                "every past task counts alike, and the values are what the choices came to there: here they "
                "may come to anything"
            )
        elif np.isinf(self._learned.neighbourhood.bandwidth) and len(self._learned.meta.tasks) > 1:
            notes.append(
                "likeness of tasks did not predict results among the past tasks: all of them count alike"
            )
        return [*notes, *self._beyond_notes()]

    def _beyond_notes(self) -> list[str]:
        """Say where seconds are told beyond what was timed, if that makes much of a difference."""
        notes, declared = [], self._learned.meta.workload
        if declared is None:
            return []
        if _matters(self._beyond.amount):
            notes.append(
                f"an epoch has {self._beyond.amount:.2g} times as much to train on as that of the "
                f"nearest past task ({declared.terms}): seconds are told in proportion"
            )
        if _matters(self._beyond.speed):
            notes.append(
                f"the machine that measured the task is {self._beyond.speed:.2g} times as fast as those that "
                f"the past tasks were timed on ({declared.speed}): seconds are told in proportion"
            )
        return notes


def _matters(factor: float) -> bool:
    """Return whether a factor is far from 1; False where it is not known (NaN)."""
    return factor < 1 / _MUCH or factor > _MUCH


def _too_small(budget_s: float, least: float) -> list[str]:
    if budget_s >= least:
        return []
    return [
        f"by what is predicted the budget is too small for one epoch of any config, {rounded_up(least)} s "
        "would do: what is named is what to try if runs turn out faster"
    ]
