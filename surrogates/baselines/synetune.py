"""Syne Tune's transfer methods: the zero-shot portfolio and the quantile-based one.

Both choose among the candidates themselves, which are given to the library in the place of configs that it
would sample; each is run to the end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from surrogates.baselines.conversion import Conversion
from surrogates.baselines.fixed import RandomSearch, full_runs
from surrogates.baselines.libraries import own_randomness, require, silenced
from surrogates.baselines.past import PastResults
from surrogates.data.normalisation import Array
from surrogates.metadataset import MetaDataset
from surrogates.stepwise import Optimiser, Point, Problem, Start, Step

_MOST_ROWS = 100_000
_FEWEST_ROWS = 10
"""Below, the library's split leaves nothing to measure its error by; every choice is a random one then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyneTuneZeroShot:
    """Syne Tune's ``ZeroShotTransfer``: a greedy portfolio of ranks.

    It wants every config on every task: where a past task did not run a candidate, the rank of the nearest
    config that it ran stands in.
    """

    name: str = "Syne Tune zero-shot"
    uses_budget: bool = False

    def learn(self, others: MetaDataset, *, seed: int) -> Start:
        """Rank the past trials."""
        require(self.name, "syne_tune")
        past = PastResults.of(others)
        _transfer_library()

        def start(problem: Problem) -> Optimiser:
            ranks = past.of_candidates(problem.candidates).ranks
            if not len(ranks):
                return full_runs(np.arange(len(problem.candidates)), problem)
            return _ZeroShot(problem, ranks, seed)

        return start


class _ZeroShot:
    def __init__(self, problem: Problem, ranks: Array, seed: int) -> None:
        from syne_tune.config_space import choice

        scheduler_of, evaluations_of, _ = _transfer_library()
        self._max_epochs, self._left = problem.max_epochs, ranks.shape[1]
        places = list(range(self._left))
        space = {"candidate": choice(places)}
        evaluations = {
            str(t): evaluations_of(
                configuration_space=space,
                hyperparameters=pd.DataFrame({"candidate": places}),
                objectives_names=["rank"],
                objectives_evaluations=row.reshape(-1, 1, 1, 1),
            )
            for t, row in enumerate(ranks)
        }
        with silenced("syne_tune"), own_randomness(seed):
            self._scheduler = scheduler_of(space, "rank", evaluations, do_minimize=True, random_seed=seed)

    def ask(self) -> Step | None:
        """Return the portfolio's next config."""
        if not self._left:
            return None
        self._left -= 1
        with silenced("syne_tune"):
            # Its suggest() draws at random in release 0.16; this is where the portfolio is.
            config = self._scheduler.get_config()
        return Step(candidate=int(config["candidate"]), epochs=self._max_epochs)

    def tell(self, step: Step, points: Sequence[Point], *, failed: bool) -> None:
        """Ignore what came of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyneTuneQuantile:
    """Syne Tune's quantile-based transfer: Thompson sampling from one model of all past tasks.

    Losses become normal quantiles within their task; boosted trees predict them from the config; the model's
    error is the standard deviation of the draws. A candidate is run once. Source: Salinas, Shen, Perrone,
    A Quantile-based Approach for Hyperparameter Transfer Learning, ICML 2020.
    """

    name: str = "Syne Tune quantile"
    uses_budget: bool = False

    def learn(self, others: MetaDataset, *, seed: int) -> Start:
        """Fit the model to the past trials."""
        require(self.name, "syne_tune", "xgboost")
        conversion = Conversion(others.space)
        evaluations = _evaluations(others, conversion)
        rows = sum(len(found.hyperparameters) for found in evaluations.values())
        if rows < _FEWEST_ROWS or not conversion.names:
            return RandomSearch().learn(others, seed=seed)
        *_, fit_model = _transfer_library()
        import xgboost

        with silenced("syne_tune"), own_randomness(seed):
            model, _, error = fit_model(
                conversion.synetune_space(),
                evaluations,
                normalization="gaussian",
                max_fit_samples=_MOST_ROWS,
                # The library's default is one object for all fits: a later one would change an earlier.
                model=xgboost.XGBRegressor(random_state=seed),
                random_state=np.random.RandomState(seed),
            )

        def start(problem: Problem) -> Optimiser:
            frame = pd.DataFrame([conversion.values(config) for config in problem.candidates])
            means = np.asarray(model.predict(frame), dtype=float).ravel()
            return _Thompson(problem, means, float(error), seed)

        return start


class _Thompson:
    def __init__(self, problem: Problem, means: Array, error: float, seed: int) -> None:
        self._max_epochs = problem.max_epochs
        self._means, self._error = means.copy(), error
        self._rng = np.random.default_rng(seed)

    def ask(self) -> Step | None:
        """Draw every candidate's quantile and return the lowest of those not yet run."""
        if np.isinf(self._means).all():
            return None
        place = int(np.argmin(self._rng.normal(self._means, self._error)))
        self._means[place] = np.inf
        return Step(candidate=place, epochs=self._max_epochs)

    def tell(self, step: Step, points: Sequence[Point], *, failed: bool) -> None:
        """Ignore what came of it: the model is not refitted."""


def _evaluations(others: MetaDataset, conversion: Conversion) -> dict[str, Any]:
    """Return the past tasks' ranks as Syne Tune takes them; tasks with one config only say nothing."""
    _, evaluations_of, _ = _transfer_library()
    space = conversion.synetune_space()
    past = PastResults.of(others)
    rows = [conversion.values(others.configs[key]) for key in past.config_ids]
    found = {}
    for t, ranks in enumerate(past.ranks):
        run = np.flatnonzero(~np.isnan(ranks))
        if len(run) > 1:
            found[str(t)] = evaluations_of(
                configuration_space=space,
                hyperparameters=pd.DataFrame([rows[place] for place in run]),
                objectives_names=["rank"],
                objectives_evaluations=ranks[run].reshape(-1, 1, 1, 1),
            )
    return found


def _transfer_library() -> tuple[Any, Any, Any]:
    """Import Syne Tune's zero-shot scheduler, its record of a past task, and the quantile-based fit."""
    with silenced():
        from syne_tune.optimizer.schedulers.transfer_learning.quantile_based.quantile_based_searcher import (
            fit_model,
        )
        from syne_tune.optimizer.schedulers.transfer_learning.zero_shot import (
            TransferLearningTaskEvaluations,
            ZeroShotTransfer,
        )
    return ZeroShotTransfer, TransferLearningTaskEvaluations, fit_model
