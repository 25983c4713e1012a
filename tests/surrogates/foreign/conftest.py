"""A table that has nothing to do with language models: perceptrons on scikit-learn's bundled data sets."""

import pandas as pd
import pytest

from benchmarks.foreign_tables import SETTINGS, judge
from benchmarks.tables import mlp
from benchmarks.tables.table import Table, make_table
from surrogates.baselines.portfolios import AverageRank, NearestTask
from surrogates.evaluation.ours import TransferOnly
from surrogates.stepwise import Method

TASKS = (
    "iris",
    "wine",
    "breast_cancer",
    "diabetes",
    "moons",
    "friedman1",
    "digits_few_rows",
    "wide",
    "digits_alike",
    "regression_noisy",
)


@pytest.fixture(scope="session")
def table() -> Table:
    """Ten data sets by 32 configs by six epochs."""
    return make_table(mlp.SPACE, mlp.train, tasks=TASKS, configs=32, epochs=6, seed=0, shared=True)


@pytest.fixture(scope="session")
def judged(table: Table) -> dict[str, pd.DataFrame]:
    """What was measured in each setting; by modelled costs, so that it is the same on every machine."""
    meta = table.meta_dataset(cost="modelled_s")
    methods: list[Method] = [TransferOnly(), AverageRank(), NearestTask()]
    return {
        setting: judge(meta, methods, setting=setting, tasks=meta.tasks, budgets=(1.0, 3.0, 10.0))
        for setting in SETTINGS
    }
