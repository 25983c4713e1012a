"""Learning from one meta-dataset, replaying another."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from orchestrator.app.evaluate import Protocol, evaluate
from orchestrator.app.evaluation_ground import read_ground
from orchestrator.app.evaluation_results import Evaluation
from orchestrator.contracts import InputError
from surrogates.data.normalisation import Direction
from surrogates.data.space import Space
from surrogates.data.store import write_tables
from surrogates.metadataset import MetaDataset
from surrogates.stepwise import Problem, Sequenced, Start
from tests.surrogates.roots import write_root
from tests.surrogates.synthetic import SPACE, World, make

PAST = make(World(tasks=3, configs=8, epochs=3))
ONCE = Protocol(budgets=(1.0,), seeds=1, methods=("average rank",), own_time=False)


def upside_down(meta: MetaDataset) -> MetaDataset:
    """The same record with the best config worst and the worst best, and other costs."""
    points = meta.points
    turned = points["value"].max() - points["value"]
    return replace(meta, points=points.assign(value=turned, cost_s=2.0 * points["cost_s"]))


def renamed(meta: MetaDataset, prefix: str) -> MetaDataset:
    """The same record under other task ids."""
    return replace(
        meta,
        tasks=tuple(replace(task, task_id=prefix + task.task_id) for task in meta.tasks),
        trials=meta.trials.assign(task_id=prefix + meta.trials["task_id"]),
    )


def written(meta: MetaDataset, folder: Path) -> Path:
    write_tables(meta, folder)
    return folder


@pytest.fixture
def past(tmp_path: Path) -> Path:
    return written(PAST, tmp_path / "past")


def regret(results: Evaluation) -> float:
    (method,) = results.methods[False]
    return method.at[0].regret.mean


def test_what_is_best_in_the_past_is_what_is_run_elsewhere_however_bad_it_is_there(tmp_path: Path) -> None:
    alike = make(World(tasks=3, configs=8, epochs=1, strength=0.0, noise=0.0))
    past = written(alike, tmp_path / "past")
    other = written(renamed(upside_down(alike), "other-"), tmp_path / "other")
    twice = replace(ONCE, budgets=(2.0,))
    assert regret(evaluate(past, protocol=twice)) < 0.5
    assert regret(evaluate(other, protocol=twice)) < 0.5
    assert regret(evaluate(past, on=other, protocol=twice)) > 1.0


def test_a_root_on_itself_is_each_task_left_out_in_turn(past: Path) -> None:
    protocol = replace(ONCE, methods=("average rank", "random", "portfolio", "transfer-only"))
    there = evaluate(past, on=past, protocol=protocol)
    plain = evaluate(past, protocol=protocol)
    for one, other in zip(there.methods[False], plain.methods[False], strict=True):
        assert (one.name, one.at[0].regret) == (other.name, other.at[0].regret)
    assert there.elsewhere is not None
    assert there.elsewhere.shared_tasks == plain.tasks


def test_methods_learn_from_the_past_alone_and_are_asked_among_the_configs_elsewhere(
    past: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[set[str], float]] = []
    asked: list[Problem] = []

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Watching:
        name: str = "watching"
        uses_budget: bool = False

        def learn(self, others: MetaDataset, *, seed: int) -> Start:
            seen.append((set(others.trials["task_id"]), float(others.points["cost_s"].max())))

            def start(problem: Problem) -> Sequenced:
                asked.append(problem)
                return Sequenced([])

            return start

    monkeypatch.setattr("orchestrator.app.evaluate.chosen_methods", lambda names: ([Watching()], []))
    short = make(World(tasks=4, configs=5, epochs=2, seed=1))
    evaluate(past, on=written(short, tmp_path / "short"), protocol=ONCE)
    assert [tasks for tasks, _ in seen] == [{"t1", "t2"}, {"t0", "t2"}, {"t0", "t1"}, {"t0", "t1", "t2"}]
    assert seen[-1][1] == PAST.points["cost_s"].max()
    costs = short.trials.groupby("task_id")["cost_s"].median()
    for task, problem in zip(short.tasks, asked, strict=True):
        assert problem.features == task.features
        assert list(problem.candidates) == list(short.configs.values())
        assert problem.max_epochs == 2
        assert problem.budget_s == pytest.approx(costs[task.task_id])


def test_what_is_written_says_what_was_learned_from_and_tested_on(past: Path, tmp_path: Path) -> None:
    drawn = make(World(tasks=2, configs=10, epochs=2, seed=1))
    other = written(drawn, tmp_path / "other")
    results = evaluate(past, on=other, protocol=ONCE)
    assert results.out == other / "transfer"
    told = (other / "transfer" / "table.md").read_text()
    assert told.startswith("# Comparison on another root")
    assert f"learned from 24 trials on 3 tasks of {past}; 2 tasks of both left out of that in turn" in told
    assert f"tested on 2 tasks of {other}, 1 seed, 20 trials" in told
    assert "10 of 10 candidates are not on record where was learned" in told
    assert "goes to epoch 3, what is replayed to epoch 2" in told
    there = results.as_dict()["elsewhere"]
    assert there["on"] == str(other)
    assert (there["learned_trials"], there["known_candidates"], there["candidates"]) == (24, 0, 10)
    assert evaluate(past, protocol=ONCE).as_dict()["elsewhere"] is None


def test_replays_that_learned_from_another_past_are_run_again(past: Path, tmp_path: Path) -> None:
    other = written(renamed(PAST, "other-"), tmp_path / "other")
    less = written(PAST.without(["t2"]), tmp_path / "less")
    said: list[str] = []
    for root in (past, less, past):
        evaluate(root, on=other, protocol=ONCE, say=said.append)
    assert ["done before" in line for line in said] == [False, False, True]


def test_one_task_elsewhere_is_enough_and_roots_are_reported_on_test(tmp_path: Path) -> None:
    roots = [tmp_path / "past", tmp_path / "one"]
    for root, tasks in zip(roots, (2, 1), strict=True):
        root.mkdir()
        write_root(root, tasks=tasks, configs=4, first_task=0 if tasks == 2 else 7)
    results = evaluate(roots[0], on=roots[1], protocol=ONCE)
    assert results.test_metric == "test_loss"
    assert results.methods[True][0].at[0].regret.n == 1
    assert results.elsewhere is not None
    assert results.elsewhere.shared_tasks == ()
    assert results.elsewhere.learned_base_fingerprints == results.elsewhere.tested_base_fingerprints != ()


def test_ablations_count_the_tasks_that_are_learned_from(past: Path, tmp_path: Path) -> None:
    elsewhere = written(renamed(PAST, "other-"), tmp_path / "other")
    assert read_ground(past, None, None).fewest_learned == 2
    assert read_ground(past, past, None).fewest_learned == 2
    assert read_ground(past, elsewhere, None).fewest_learned == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: replace(PAST, metric="error"), "are about error, not loss"),
        (lambda: replace(PAST, direction=Direction.MAXIMISE), "loss is minimised in .* and maximised in"),
        (
            lambda: replace(
                PAST,
                space=Space({**SPACE, "depth": [1, 2]}),
                configs={key: {**config, "depth": 1} for key, config in PAST.configs.items()},
            ),
            "have depth, of which the space of .* knows nothing",
        ),
        (lambda: replace(PAST, trials=PAST.trials.assign(is_failure=True)), "on none of its tasks"),
    ],
)
def test_what_the_past_says_nothing_about_is_refused(
    past: Path, tmp_path: Path, change: Callable[[], MetaDataset], message: str
) -> None:
    other = written(change(), tmp_path / "other")
    with pytest.raises(InputError, match=message):
        evaluate(past, on=other, protocol=ONCE)
