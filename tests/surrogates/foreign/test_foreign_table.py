from typing import Any

import pandas as pd
import pytest

from benchmarks.foreign_tables import with_unseen_candidates
from benchmarks.tables import boosting, data_sets, mlp
from benchmarks.tables.table import Table, Training, make_table
from surrogates.data.space import Space
from surrogates.evaluation.ours import OURS

MAKERS = [
    pytest.param(mlp.SPACE, mlp.train, id="perceptrons"),
    pytest.param(boosting.SPACE, boosting.train, id="boosted trees"),
]


def mean_regrets(measured: pd.DataFrame) -> "pd.Series[float]":
    return measured.groupby("method")["regret"].mean()


@pytest.mark.timeout(600)  # the first one trains the table, and fits once a task and setting
@pytest.mark.parametrize("setting", ["shared", "unseen"])
@pytest.mark.parametrize("baseline", ["average rank", "nearest task"])
def test_the_recommender_beats_a_portfolio_on_the_mean_over_tasks(
    judged: dict[str, pd.DataFrame], setting: str, baseline: str
) -> None:
    regrets = mean_regrets(judged[setting])
    assert regrets[OURS] < regrets[baseline], regrets


def test_no_past_task_has_run_a_candidate_that_counts_as_unseen(table: Table) -> None:
    meta = table.meta_dataset(cost="modelled_s")
    for task in meta.tasks:
        halved = with_unseen_candidates(meta, task, seed=1)
        on_task = halved.trials["task_id"] == task.task_id
        ran, past = set(halved.trials[on_task]["config_id"]), set(halved.trials[~on_task]["config_id"])
        assert ran
        assert not ran & past
        assert ran | past == set(meta.configs)
        assert len(halved.tasks) == len(meta.tasks)


def test_perceptrons_learn_and_the_wildest_learning_rates_diverge(table: Table) -> None:
    meta = table.meta_dataset()
    assert 0.0 < meta.trials["is_failure"].mean() < 0.2
    curves = table.curves.sort_values("epoch").groupby(["task_id", "config_id"])["valid_loss"]
    learned = curves.min() < curves.first()
    assert learned.mean() > 0.5
    best = table.curves.groupby("task_id")["test_error"].min()
    assert best.max() < 1.0


@pytest.mark.parametrize(("space", "train"), MAKERS)
def test_the_same_seed_gives_the_same_curves_apart_from_seconds(
    space: dict[str, Any], train: Training
) -> None:
    data = data_sets.load("wine")
    for config in Space(space).sample(3, seed=5):
        once, again = (
            [
                (e.valid_loss, e.test_loss, e.test_error, e.modelled_s)
                for e in train(data, config, epochs=3, seed=2)
            ]
            for _ in range(2)
        )
        assert once == again
        assert len(once) == 3


@pytest.mark.parametrize(("space", "train"), MAKERS)
def test_a_shorter_run_is_the_beginning_of_a_longer_one(space: dict[str, Any], train: Training) -> None:
    data = data_sets.load("diabetes")
    config = Space(space).default()
    short, long = ([e.valid_loss for e in train(data, config, epochs=count, seed=0)] for count in (2, 5))
    assert long[:2] == short


@pytest.mark.parametrize("shared", [True, False])
def test_configs_are_shared_between_tasks_or_each_tasks_own(shared: bool) -> None:
    names = ("iris", "moons")
    table = make_table(
        boosting.SPACE, boosting.train, tasks=names, configs=4, epochs=2, seed=0, shared=shared
    )
    ran = [set(table.curves[table.curves["task_id"] == name]["config_id"]) for name in names]
    assert [len(ids) for ids in ran] == [4, 4]
    assert (ran[0] == ran[1]) is shared
    assert not shared or len(table.configs) == 4
    assert table.meta_dataset().max_epochs == 2


@pytest.mark.parametrize("name", data_sets.NAMES)
def test_a_data_set_has_every_class_to_train_on_and_inputs_in_standard_deviations(name: str) -> None:
    data = data_sets.load(name)
    spread = data.train.inputs.std(axis=0)
    assert ((spread < 1e-9) | (abs(spread - 1.0) < 1e-9)).all()
    if data.classes:
        assert set(data.train.targets) == set(range(data.classes))
    else:
        assert abs(data.train.targets.std() - 1.0) < 1e-9
    assert min(len(data.valid.targets), len(data.test.targets)) >= 15
