"""Learns from a meta-dataset, once, and plans for tasks that nobody has tried: transfer only."""

import math
import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence

from threadpoolctl import threadpool_limits

from orchestrator.contracts import Config, InputError, NothingLearnedError, Scalar
from surrogates.metadataset import MetaDataset
from surrogates.plan import Plan
from surrogates.planning.candidates import Candidates
from surrogates.planning.constraints import Constraints
from surrogates.planning.knowledge import Knowledge
from surrogates.planning.parts import Part
from surrogates.planning.question import Question
from surrogates.session import Arm, Session, checked_arm, planned_session
from surrogates.stepwise import Problem

_MOST_EXCLUDING = 8
"""Recommenders kept that leave out a task asked about; the one asked longest ago goes first."""
_MOST_CONSTRAINED = 8
"""Pools kept that leave out what a person rules out."""


class Recommender(Knowledge):
    """What has been learned, ready to answer. Build it with ``fit``; safe to ask from several threads."""

    def __init__(
        self, meta: MetaDataset, *, seed: int, notes: Sequence[str], without: Collection[Part] = ()
    ) -> None:
        super().__init__(meta, seed=seed, notes=notes, without=without)
        self._excluding: OrderedDict[str, Recommender] = OrderedDict()
        self._constrained: OrderedDict[Constraints, Candidates] = OrderedDict()
        self._lock = threading.Lock()

    @classmethod
    def fit(
        cls,
        meta: MetaDataset,
        *,
        seed: int = 0,
        exclude_task_ids: Collection[str] = (),
        without: Collection[str] = (),
    ) -> "Recommender":
        """Learn from a meta-dataset.

        Args:
            meta: Any, with at least one task on which a trial did not fail.
            seed: The same seed and meta-dataset give the same recommender.
            exclude_task_ids: Tasks to learn nothing from.
            without: Parts to do without, for comparison: ``cost``, ``failures``, ``uncertainty``.

        Returns:
            The recommender.

        Raises:
            NothingLearnedError: No trial is left to learn from.
            InputError: No trial has a cost above 0, or there is no such part.
        """
        unknown = sorted(set(without) - set(Part))
        if unknown:
            raise InputError(f"no part {', '.join(unknown)} to do without; there are {', '.join(Part)}")
        parts = frozenset(Part(name) for name in without)
        left = meta.without(exclude_task_ids)
        if Part.FAILURES in parts:
            left = left.without_failures()
        barren = left.barren_tasks()
        left = left.without([task.task_id for task in barren])
        if not left.tasks:
            raise NothingLearnedError(
                "no trial without failure is left to learn from; run a sweep over other tasks than the one "
                "asked about"
            )
        notes = [f"nothing was learned from {task.name}: no trial there worked" for task in barren]
        if len(left.tasks) == 1:
            notes.append(
                f"learned from one task only ({left.tasks[0].name}): how results differ between tasks is not "
                "known"
            )
        # Its matrices are small: a second BLAS thread took ten times the CPU where the cores were shared.
        with threadpool_limits(limits=1, user_api="blas"):
            return cls(left, seed=seed, notes=notes, without=parts)

    def plan(
        self,
        features: Mapping[str, float],
        budget_s: float,
        *,
        candidates: Sequence[Config] | None = None,
        k: int | None = None,
        task_id: str | None = None,
        base_fingerprint: str | None = None,
        fixed: Mapping[str, Scalar] | None = None,
        excluded: Mapping[str, Sequence[Scalar]] | None = None,
    ) -> Plan:
        """Plan for a task, by its meta-features alone.

        Args:
            features: The task's meta-features; missing ones are allowed for.
            budget_s: Seconds of training and evaluation, above 0.
            candidates: Configs to choose from; None: the past ones and fresh ones of the space.
            k: At most so many choices, from 1; None: as many as fill budget and reserve, up to 40.
            task_id: The task's id; if it has been learned from, its rows are left out of the answer, which
                takes a fit the first time.
            base_fingerprint: The base model it is asked for; None: the one that was learned from.
            fixed: Hyperparameters and the only value they may have.
            excluded: Hyperparameters and values they must not have.

        Returns:
            The plan; its predicted cost, without the reserve, is within the budget.

        Raises:
            InputError: The budget, ``k``, a candidate or the base model can't be answered.
            NothingLearnedError: Nothing is left when the task itself is left out.
        """
        if task_id is not None and task_id in self.table.task_ids:
            return self._without(task_id).plan(
                features,
                budget_s,
                candidates=candidates,
                k=k,
                base_fingerprint=base_fingerprint,
                fixed=fixed,
                excluded=excluded,
            )
        _check_budget(budget_s)
        if k is not None and k < 1:
            raise InputError(f"k must be at least 1, got {k}")
        self._refuse_other_base(base_fingerprint)
        constraints = Constraints.checked(self.meta.space, fixed, excluded)
        if candidates is not None:
            pool = self.maker.given(candidates, constraints or None)
        else:
            pool = self._constrained_pool(constraints) if constraints else self.pool
        return Question(self, features, pool).plan(float(budget_s), k)

    def session(
        self,
        features: Mapping[str, float],
        budget_s: float,
        *,
        candidates: Sequence[Config] | None = None,
        arm: Arm | str = Arm.TRANSFER_ONLY,
        task_id: str | None = None,
        seed: int = 0,
    ) -> Session:
        """Begin on a new task, step by step: ``ask`` what to run, ``tell`` what came of it.

        Args:
            features: The task's meta-features; missing ones are allowed for.
            budget_s: Seconds of training and evaluation, above 0.
            candidates: Configs to choose from; None: the past ones and fresh ones of the space.
            arm: What the outcomes on the task may change.
            task_id: The task's id; what is on record of it is left out.
            seed: Of the arms that learn.

        Returns:
            The session.

        Raises:
            InputError: The budget, a candidate or the arm can't be used, or gpytorch is missing.
            NothingLearnedError: Nothing is left when the task itself is left out.
        """
        chosen = checked_arm(arm)
        if chosen is Arm.TRANSFER_ONLY:
            return planned_session(self.plan(features, budget_s, candidates=candidates, task_id=task_id))
        _check_budget(budget_s)
        learned = self if task_id not in self.table.task_ids else self._without(str(task_id))
        # Also the pool of candidates is without the task: it holds the best configs of every past one.
        pool = learned.pool if candidates is None else learned.maker.given(candidates)
        problem = Problem(
            features=features,
            candidates=pool.configs,
            budget_s=budget_s,
            max_epochs=int(learned.table.epochs[-1]),
            direction=learned.meta.direction,
        )
        from surrogates.deepkernel.methods import QuickTune

        optimiser = QuickTune(arm=chosen.value).learn(learned.meta, seed=seed)(problem)
        return Session(chosen, optimiser, pool.configs, budget_s=budget_s)

    def _constrained_pool(self, constraints: Constraints) -> Candidates:
        with self._lock:
            found = self._constrained.get(constraints)
            if found is None:
                found = self.maker.pool(self.past_features, seed=self.seed, constraints=constraints)
                self._constrained[constraints] = found
                if len(self._constrained) > _MOST_CONSTRAINED:
                    self._constrained.popitem(last=False)
            self._constrained.move_to_end(constraints)
            return found

    def _refuse_other_base(self, base_fingerprint: str | None) -> None:
        known = self.meta.base_fingerprints
        if base_fingerprint is not None and known and base_fingerprint not in known:
            raise InputError(
                f"the base model asked about ({base_fingerprint}) is not the one that was learned from "
                f"({', '.join(known)}); ask for that one, or run a sweep with this one"
            )

    def _without(self, task_id: str) -> "Recommender":
        with self._lock:
            found = self._excluding.get(task_id)
            if found is None:
                found = Recommender.fit(
                    self.meta, seed=self.seed, exclude_task_ids=[task_id], without=self.without
                )
                self._excluding[task_id] = found
                if len(self._excluding) > _MOST_EXCLUDING:
                    self._excluding.popitem(last=False)
            self._excluding.move_to_end(task_id)
            return found


def _check_budget(budget_s: float) -> None:
    if not (math.isfinite(budget_s) and budget_s > 0):
        raise InputError(f"a budget must be above 0 s, got {budget_s:g}")
