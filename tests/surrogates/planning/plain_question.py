"""One question answered as it is meant, with nothing prepared: what the fast answer must equal."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from surrogates.data.encoding import ConfigEncoder
from surrogates.data.normalisation import Array, to_loss
from surrogates.models.blend import Blend, Told
from surrogates.models.deviations import Carrier
from surrogates.models.neighbours import likeness, weighted_scores
from surrogates.plan import INTERVAL, Choice, LearnedFrom, NearTask, PastTrial, Plan, Prediction
from surrogates.planning.candidates import Candidates
from surrogates.planning.knowledge import Knowledge
from surrogates.planning.parts import Part
from surrogates.planning.portfolio import Pick, Samples, expected_goodness, rounded_up, smallest_budget_s
from tests.surrogates.planning.plain_portfolio import plain_portfolio

_MOST_CHOICES = 40
_MOST_USUAL = 1.0
"""Strangeness up to which a task's meta-features are believed."""
_EVIDENCE_TASKS = 3
_LOW, _HIGH = 0.5 - INTERVAL / 2, 0.5 + INTERVAL / 2
_LONE_NODES, _LONE_WEIGHTS = np.array([-1.28, 0.0, 1.28]), np.array([0.2, 0.6, 0.2])
"""With one past task there are no deviations between tasks; the model's error on configs stands in."""


class PlainPool:
    """What all plain questions about a pool have in common."""

    def __init__(self, learned: Knowledge, pool: Candidates) -> None:
        self.learned, self.pool = learned, pool
        encoder = ConfigEncoder(learned.meta.space)
        self._past = encoder.encode([learned.meta.configs[key] for key in learned.table.config_ids])
        self.between = encoder.distances(pool.encoded, self._past)

    @cached_property
    def deviations(self) -> Array:
        return self._carried(self.learned.blend)

    @cached_property
    def unknown_deviations(self) -> Array:
        return self._carried(self.learned.unknown_blend)

    def _carried(self, blend: Blend) -> Array:
        likeness_of = self.learned.kernel.likeness
        carrier = Carrier.fitted(blend.deviations, likeness_of(self._past, self._past))
        return carrier.to(likeness_of(self.pool.encoded, self._past))


class PlainQuestion:
    """A task's meta-features against what has been learned."""

    def __init__(self, plain: PlainPool, features: Mapping[str, float]) -> None:
        self._learned, self._pool, self._between = plain.learned, plain.pool, plain.between
        learned = plain.learned
        self._features = learned.features.encode([features])[0]
        self._distances = learned.neighbourhood.distances(self._features)
        self._judgement = learned.strangeness.judge(features)
        self._strangeness = None if self._judgement is None else self._judgement.score
        self._beyond = learned.workloads.beyond(features)
        # Of a task unlike everything seen, or of which nothing is known, its meta-features may say anything.
        self._is_usual = self._strangeness is not None and self._strangeness <= _MOST_USUAL
        self._is_usual &= not np.isnan(self._features).all()
        bandwidth = learned.neighbourhood.bandwidth if self._is_usual else np.inf
        self._weights = likeness(self._distances, bandwidth)
        # In each sample the new task deviates from the prediction as one past task did.
        pool, deviations = plain.pool, plain.deviations if self._is_usual else plain.unknown_deviations
        self._sampled = np.maximum.accumulate(self._predict()[None] + deviations, axis=2)
        samples = Samples(
            goodness=np.stack(
                [
                    scale.goodness_at(row)
                    for scale, row in zip(learned.table.scales, self._sampled, strict=True)
                ]
            ),
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
        picks = plain_portfolio(self._samples, budget_s, most=_MOST_CHOICES if k is None else k)
        least = smallest_budget_s(self._samples.cost_s)
        meta = self._learned.meta
        return Plan(
            budget_s=budget_s,
            choices=self._choices(picks),
            nearest_tasks=self._near_tasks(),
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

    def _predict(self) -> Array:
        """Return the predicted scores, shape ``(P, F)``."""
        learned, pool = self._learned, self._pool
        blend = learned.blend if self._is_usual else learned.unknown_blend
        unknown = learned.model.predict(pool.encoded, None)
        known = unknown.copy()
        asked = np.where(pool.places >= 0, blend.seen[1] > 0, blend.fresh[1] > 0) & self._is_usual
        if asked.any():
            known[asked] = learned.model.predict(pool.encoded[asked], self._features)
        means, counts = weighted_scores(self._weights[None], learned.table.scores[:, pool.places])
        seen = (pool.places >= 0)[:, None]
        projection = learned.kernel.project(pool.encoded, pool.places)
        return blend.combine(
            Told(
                kernel=learned.kernel.predict(projection, self._features if self._is_usual else None),
                with_features=known,
                without_features=unknown,
                record=np.where(seen, means[0], 0.0),
                behind=np.where(seen, counts[0], 0.0),
            )
        )

    def _choices(self, picks: Sequence[Pick]) -> tuple[Choice, ...]:
        learned, pool = self._learned, self._pool
        at = np.array([pick.candidate for pick in picks])
        encoded = pool.encoded[at]
        failing = learned.failures.predict(encoded, pool.places[at], self._features)
        distances = self._between[at]
        regrets = 1.0 - expected_goodness(self._samples, picks)
        near = self._nearest_order()[:_EVIDENCE_TASKS]
        predictions = self._predictions(at, np.array([pick.fidelity for pick in picks]))
        choices = []
        for rank, pick in enumerate(picks):
            epochs = int(learned.table.epochs[pick.fidelity])
            score, *reports = predictions[rank]
            choices.append(
                Choice(
                    rank=rank + 1,
                    config=dict(pool.configs[pick.candidate]),
                    epochs=epochs,
                    is_fresh=bool(pool.places[pick.candidate] < 0),
                    score=score,
                    reports=tuple(reports),
                    cost_s=pick.cost_s,
                    is_reserve=pick.is_reserve,
                    failure_probability=float(failing[rank]),
                    expected_regret=float(regrets[rank]),
                    evidence=tuple(self._evidence(distances[rank], task, epochs) for task in near),
                )
            )
        return tuple(choices)

    def _evidence(self, distances: Array, task: int, epochs: int) -> PastTrial:
        """The trial of the nearest config that the task ran, with its best point up to some epochs."""
        meta, table = self._learned.meta, self._learned.table
        config = int(np.argmin(np.where(table.is_run[task], distances, np.inf)))
        trials = meta.trials
        is_it = (trials["task_id"] == table.task_ids[task]) & (
            trials["config_id"] == table.config_ids[config]
        )
        trial = trials[is_it].iloc[0]
        points = meta.points[
            (meta.points["trial_id"] == trial["trial_id"]) & (meta.points["epoch"] <= epochs)
        ]
        best = None
        if len(points) and not trial["is_failure"]:
            losses = to_loss(points["value"].to_numpy(float), meta.direction)
            best = points.iloc[int(np.argmin(losses))]
        return PastTrial(
            trial_id=str(trial["trial_id"]),
            task_id=meta.tasks[task].task_id,
            task_name=meta.tasks[task].name,
            config_distance=float(distances[config]),
            outcome=str(trial["outcome"]),
            epoch=None if best is None else int(best["epoch"]),
            value=None if best is None else float(best["value"]),
            reports={}
            if best is None
            else {name: float(best[name]) for name in meta.reports if np.isfinite(best[name])},
        )

    def _predictions(
        self, candidates: NDArray[np.int64], fidelities: NDArray[np.int64]
    ) -> list[list[Prediction]]:
        """Return, choice by choice, the metric and the reports as each past task would read the samples."""
        learned = self._learned
        scores = self._sampled[:, candidates, fidelities].T
        weights = self._weights
        if scores.shape[1] == 1:
            scores, weights = scores + _LONE_NODES * learned.model.spread, _LONE_WEIGHTS
        pairs = np.outer(self._weights, weights).ravel()
        scales, meta = learned.table.scales, learned.meta
        # Worse, as told, and better: the ends are read with the margin that past tasks turned out to need.
        margin = learned.margin if self._is_usual else learned.unknown_margin
        margins = np.array([-margin, 0.0, margin])
        asked = scores[None] + margins[:, None, None]
        losses = np.stack([scale.loss_at(asked) for scale in scales], axis=2)
        read = {meta.metric: to_loss(losses, meta.direction)}
        for name in meta.reports:
            read[name] = np.stack([scale.report_at(name, asked) for scale in scales], axis=2)
        return [
            [
                _prediction(name, values[:, place].reshape(len(margins), -1), pairs)
                for name, values in read.items()
                if name == meta.metric or np.isfinite(values[:, place]).any()
            ]
            for place in range(len(candidates))
        ]

    def _nearest_order(self) -> list[int]:
        known = np.where(np.isnan(self._distances), np.inf, self._distances)
        return [int(place) for place in np.lexsort((known, -self._weights))]

    def _near_tasks(self) -> tuple[NearTask, ...]:
        tasks = self._learned.meta.tasks
        return tuple(
            NearTask(
                task_id=tasks[place].task_id,
                name=tasks[place].name,
                distance=None if np.isnan(self._distances[place]) else float(self._distances[place]),
                weight=float(self._weights[place]),
            )
            for place in self._nearest_order()
        )

    def _notes(self) -> list[str]:
        notes = []
        names = self._learned.features.names
        missing = [name for name, value in zip(names, self._features, strict=True) if np.isnan(value)]
        if names and len(missing) == len(names):
            notes.append("no meta-feature of the task is known: every past task counts alike")
        elif missing:
            notes.append(f"answered without the meta-features {', '.join(missing)}")
        if self._judgement is not None and self._judgement.score > _MOST_USUAL:
            notes.append(
                f"the task is unlike everything seen (strangeness {self._judgement.score:.3f}, most of all "
                f"in {', '.join(self._judgement.reasons)}): its meta-features tell only the costs, "
                "every past task counts alike, and the values are what the choices came to there: here they "
                "may come to anything"
            )
        elif np.isinf(self._learned.neighbourhood.bandwidth) and len(self._learned.meta.tasks) > 1:
            notes.append(
                "likeness of tasks did not predict results among the past tasks: all of them count alike"
            )
        return notes


def _too_small(budget_s: float, least: float) -> list[str]:
    if budget_s >= least:
        return []
    return [
        f"by what is predicted the budget is too small for one epoch of any config, {rounded_up(least)} s "
        "would do: what is named is what to try if runs turn out faster"
    ]


def _prediction(metric: str, values: Array, weights: Array) -> Prediction:
    """Return a prediction from values read with the margin off, without it and with it, shape ``(3, n)``."""
    (middle,) = _quantiles(values[1], weights, (0.5,))
    ends = [*_quantiles(values[0], weights, (_LOW, _HIGH)), *_quantiles(values[2], weights, (_LOW, _HIGH))]
    return Prediction(metric=metric, value=middle, low=min(ends), high=max(ends))


def _quantiles(values: Array, weights: Array, shares: Sequence[float]) -> list[float]:
    """Return the values below which these shares of the weight lie."""
    kept = np.isfinite(values)
    order = np.argsort(values[kept], kind="stable")
    rising = values[kept][order]
    held = np.cumsum(weights[kept][order])
    places = np.searchsorted(held, np.array(shares) * held[-1])
    return [float(rising[min(int(place), len(rising) - 1)]) for place in places]
