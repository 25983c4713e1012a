from dataclasses import dataclass

import numpy as np
import pandas as pd

from surrogates.baselines.fixed import DefaultConfig, RandomSearch
from surrogates.baselines.portfolios import AverageRank
from surrogates.evaluation.ours import OURS, TransferOnly
from surrogates.evaluation.regret import measure, rulers
from surrogates.evaluation.replay import Replay, replay
from surrogates.evaluation.summary import summarise
from surrogates.metadataset import MetaDataset
from surrogates.stepwise import Method, Optimiser, Problem, Sequenced, Start
from tests.surrogates.synthetic import World, make


@dataclass(frozen=True, kw_only=True)
class FirstSteps:
    """Another method's first steps."""

    method: Method
    most: int

    @property
    def name(self) -> str:
        return self.method.name

    @property
    def uses_budget(self) -> bool:
        return self.method.uses_budget

    def learn(self, others: MetaDataset, *, seed: int) -> Start:
        learned = self.method.learn(others, seed=seed)

        def start(problem: Problem) -> Optimiser:
            optimiser = learned(problem)
            steps = [optimiser.ask() for _ in range(self.most)]
            return Sequenced([step for step in steps if step is not None])

        return start


def _compared(meta: MetaDataset, *, most: int, budget: float) -> "pd.Series[float]":
    """Mean regret of ours and three others after so many steps."""
    rows = [replay(FirstSteps(method=TransferOnly(), most=most), meta, budgets=(budget,))]
    others: list[Method] = [RandomSearch(), DefaultConfig(), AverageRank()]
    for method in others:
        rows.append(replay(FirstSteps(method=method, most=most), meta, budgets=(budget,), seeds=range(5)))
    by = {task.task_id: rulers(meta, Replay(meta, task)) for task in meta.tasks}
    measured = measure(pd.concat(rows), meta, by, (budget,), own_time=False)
    return measured.groupby("method")["regret"].mean()


def test_ours_beats_random_default_and_average_rank_where_features_tell() -> None:
    regrets = _compared(make(World(tasks=8, configs=30, epochs=3)), most=3, budget=3.0)
    assert regrets[OURS] < 0.5 * regrets[RandomSearch().name]
    assert regrets[OURS] < regrets[DefaultConfig().name]
    assert regrets[OURS] < regrets[AverageRank().name]


def test_ours_is_not_worse_than_average_rank_where_features_say_nothing() -> None:
    unlike = World(tasks=8, configs=30, epochs=3, informative=False, strength=0.3)
    regrets = _compared(make(unlike), most=2, budget=20.0)
    assert regrets[OURS] <= regrets[AverageRank().name] + 0.03
    assert regrets[OURS] < 0.5 * regrets[RandomSearch().name]


def _measured(regrets: dict[str, list[float]]) -> pd.DataFrame:
    """What two seeds on some tasks came to; the first seed's regret is 0.1 lower, the second's higher."""
    return pd.DataFrame(
        [
            {
                "method": method,
                "task_id": f"t{task}",
                "seed": seed,
                "budget": 1.0,
                "regret": regret + (0.1 if seed else -0.1),
                "range_regret": regret / 10,
                "rank": 1.5,
                "test": np.nan if (method, task, seed) == ("b", 0, 1) else 0.5,
                "test_regret": 0.0,
                "own_s": 1.0,
                "configs": 2,
            }
            for method, values in regrets.items()
            for task, regret in enumerate(values)
            for seed in (0, 1)
        ]
    )


def test_a_summary_pairs_by_task_after_the_mean_over_seeds_and_puts_the_best_first() -> None:
    summed = summarise(_measured({"b": [1.0, 1.0, 0.5], OURS: [0.5, 1.0, 0.6], "a": [2.0, 2.0, 2.0]}))
    assert [method.name for method in summed] == [OURS, "b", "a"]
    ours, b, a = (method.at[0] for method in summed)
    assert ours.against is None
    assert b.against is not None
    assert (b.against.wins, b.against.ties, b.against.losses) == (1, 1, 1)
    assert a.against is not None
    assert (a.against.wins, a.against.n) == (3, 3)
    assert np.isclose(ours.regret.mean, 0.7)
    assert ours.regret.n == 3
    assert (b.test_tasks, ours.test_tasks) == (2, 3)


def test_a_summary_without_ours_compares_with_nothing() -> None:
    summed = summarise(_measured({"b": [1.0, 1.0], "a": [2.0, 2.0]}))
    assert all(method.at[0].against is None for method in summed)
