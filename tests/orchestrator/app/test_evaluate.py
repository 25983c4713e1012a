import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from orchestrator.app import evaluation_report
from orchestrator.app.evaluate import Protocol, evaluate
from orchestrator.app.evaluation_cells import Cells, fingerprint, settings
from orchestrator.app.evaluation_methods import chosen_methods
from orchestrator.contracts import InputError
from surrogates.data.store import write_tables
from surrogates.evaluation.ours import TransferOnly
from surrogates.evaluation.replay import replay_task
from surrogates.metadataset import MetaDataset
from surrogates.stepwise import Problem, Sequenced, Start, Step
from tests.surrogates.evaluation.methods import Shuffled
from tests.surrogates.roots import write_root
from tests.surrogates.synthetic import World, make

WORLD = World(tasks=3, configs=8, epochs=2)
CHEAP = ("random", "default", "zero-shot")


@pytest.fixture(scope="module")
def meta() -> MetaDataset:
    return make(WORLD)


@pytest.fixture
def tables(tmp_path: Path, meta: MetaDataset) -> Path:
    write_tables(meta, tmp_path / "tables")
    return tmp_path / "tables"


def test_a_root_is_compared_on_validation_and_reported_on_test(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    write_root(root, tasks=3, configs=6)
    results = evaluate(
        root, protocol=Protocol(budgets=(3.0, 1.0), seeds=2, methods=(*CHEAP, "transfer-only"))
    )
    assert results.metric == "eval_loss"
    assert results.test_metric == "test_loss"
    assert results.budgets == (1.0, 3.0)
    assert {method.name for method in results.methods[True]} == {*CHEAP, "transfer-only"}
    first = results.methods[True][0].at[-1]
    assert first.test is not None
    assert first.regret.n == 3


def test_what_is_written_is_what_is_returned(tables: Path) -> None:
    results = evaluate(tables, protocol=Protocol(budgets=(1.0,), seeds=1, methods=CHEAP))
    written = json.loads((tables / "evaluation" / "results.json").read_text())
    assert written == json.loads(json.dumps(results.as_dict()))
    rows = pd.read_parquet(tables / "evaluation" / "trajectories.parquet")
    assert set(rows["method"]) == set(CHEAP)
    measures = pd.read_parquet(tables / "evaluation" / "measures.parquet")
    mean = measures[(measures["method"] == "random") & measures["own_time"]]["regret"].mean()
    (random,) = (method for method in results.methods[True] if method.name == "random")
    assert random.at[0].regret.mean == pytest.approx(mean)
    assert f"{mean:.3f}" in (tables / "evaluation" / "table.md").read_text()
    for name in ("regret.png", "regret.svg", "ranks.png"):
        assert (tables / "evaluation" / name).stat().st_size > 1000


def test_replays_that_are_done_are_not_run_again_and_give_the_same_results(tables: Path) -> None:
    said: list[str] = []
    protocol = Protocol(budgets=(1.0,), seeds=2, methods=CHEAP)
    first = evaluate(tables, protocol=protocol, say=said.append)
    again = evaluate(tables, protocol=protocol, say=said.append)
    assert not any("done before" in line for line in said[:3])
    assert all("6 of them done before" in line for line in said[3:])
    assert first == again


@pytest.mark.slow
def test_two_processes_find_what_one_finds(tables: Path, tmp_path: Path) -> None:
    one, two = (
        evaluate(
            tables,
            protocol=Protocol(budgets=(2.0,), seeds=1, methods=("random",), jobs=jobs),
            out=tmp_path / f"jobs-{jobs}",
        )
        for jobs in (1, 2)
    )
    assert one.methods[False][0].at[0].regret == two.methods[False][0].at[0].regret


@pytest.mark.slow
def test_ablations_are_compared_with_ours_whole(tables: Path) -> None:
    results = evaluate(
        tables, protocol=Protocol(budgets=(1.0,), seeds=1, methods=("transfer-only",), ablations=True)
    )
    names = {method.name for method in results.ablations[True]}
    parts = {"no meta-features", "no cost", "no failure model", "no uncertainty", "1/2 of the trials"}
    assert {"transfer-only", *parts} <= names
    assert not any("left out" in note for note in results.notes)
    assert [title for title, _, _ in results.tables()] == ["Methods", "Without one part"]


def test_pictures_that_cannot_be_drawn_are_said_to_be_missing(
    tables: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation_report, "find_spec", lambda name: None)
    results = evaluate(tables, protocol=Protocol(budgets=(1.0,), seeds=1, methods=("random",)))
    assert any("pip install 'foretune[plots]'" in note for note in results.notes)
    assert not (tables / "evaluation" / "regret.png").exists()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Protocol(budgets=(0.0,)), "budgets must be above 0"),
        (lambda: Protocol(budgets=(1.0, 1.0)), "budgets must differ"),
        (lambda: Protocol(seeds=0), "seeds must be at least 1, got 0"),
        (lambda: Protocol(jobs=3), "jobs must be from 1 to 2, got 3"),
        (lambda: chosen_methods(["nobody"]), "no method 'nobody'; known are transfer-only"),
    ],
)
def test_what_cannot_be_compared_is_refused(wrong: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        wrong()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusing:
    """A method that can't learn."""

    name: str = "refusing"
    uses_budget: bool = False

    def learn(self, others: MetaDataset, *, seed: int) -> Start:
        raise InputError("these curves are not for me")


def test_a_method_that_cannot_learn_is_left_out_and_named(
    tables: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "orchestrator.app.evaluate.chosen_methods", lambda names: ([Refusing(), Shuffled()], [])
    )
    results = evaluate(tables, protocol=Protocol(budgets=(1.0,), seeds=1))
    assert [method.name for method in results.methods[True]] == ["shuffled"]
    assert "refusing is left out: these curves are not for me" in results.notes


def test_the_untrained_model_counts_where_its_loss_is_known(tmp_path: Path, meta: MetaDataset) -> None:
    """A base model as good as the best config on record leaves no regret, without anything run."""
    best = meta.points.merge(meta.trials, on="trial_id").groupby("task_id")["value"].min()
    told = tuple(replace(task, features={"zero_shot_loss": float(best[task.task_id])}) for task in meta.tasks)
    write_tables(replace(meta, tasks=told), tmp_path / "told")
    results = evaluate(tmp_path / "told", protocol=Protocol(budgets=(1.0,), seeds=1, methods=("zero-shot",)))
    assert results.methods[True][0].at[0].regret.mean == 0.0


def test_a_cell_is_read_back_whole_and_only_by_its_own_name(tmp_path: Path, meta: MetaDataset) -> None:
    method = Shuffled()
    rows = replay_task(method, meta, meta.tasks[0], budgets=(1.0,), seed=0)
    cells = Cells(tmp_path / "cells", meta, (1.0,))
    cells.keep(method, "t0", 0, rows)
    found = cells.read(method, "t0", 0)
    assert found is not None
    pd.testing.assert_frame_equal(found, rows, check_dtype=False)
    assert cells.read(method, "t0", 1) is None
    assert cells.read(method, "t1", 0) is None
    assert cells.read(Shuffled(offset=1), "t0", 0) is None
    assert Cells(tmp_path / "cells", meta, (1.0, 3.0)).read(method, "t0", 0) is None
    assert Cells(tmp_path / "cells", meta.without(["t2"]), (1.0,)).read(method, "t0", 0) is None


def test_a_fingerprint_changes_with_any_value_and_with_nothing_else(meta: MetaDataset) -> None:
    assert fingerprint(make(WORLD)) == fingerprint(meta)
    values = meta.points["value"].to_numpy(copy=True)
    values[0] = np.nextafter(values[0], np.inf)
    assert fingerprint(replace(meta, points=meta.points.assign(value=values))) != fingerprint(meta)
    task = meta.tasks[0]
    other = replace(task, features={**task.features, "size": 0.0})
    assert fingerprint(replace(meta, tasks=(other, *meta.tasks[1:]))) != fingerprint(meta)


def test_settings_tell_methods_apart() -> None:
    whole, less = TransferOnly(), TransferOnly(name="less", without=frozenset({"cost", "failures"}))
    assert settings(whole) == settings(TransferOnly())
    assert settings(whole) != settings(less)
    assert settings(less)["without"] == ["cost", "failures"]


def test_an_interruption_keeps_what_is_done(tables: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = 0

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Interrupted:
        name: str = "interrupted"
        uses_budget: bool = False

        def learn(self, others: MetaDataset, *, seed: int) -> Start:
            nonlocal count
            count += 1
            if count == 2:
                raise KeyboardInterrupt

            def start(problem: Problem) -> Sequenced:
                return Sequenced([Step(candidate=0, epochs=1)])

            return start

    monkeypatch.setattr("orchestrator.app.evaluate.chosen_methods", lambda names: ([Interrupted()], []))
    said: list[str] = []
    protocol = Protocol(budgets=(1.0,), seeds=1)
    with pytest.raises(KeyboardInterrupt):
        evaluate(tables, protocol=protocol)
    evaluate(tables, protocol=protocol, say=said.append)
    assert "1 of them done before" in said[0]
    assert count == 4
