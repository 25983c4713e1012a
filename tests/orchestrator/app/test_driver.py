import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.app.adapters import AdapterKeeper
from orchestrator.app.driver import SweepDriver
from orchestrator.app.history import past_of
from orchestrator.app.tally import Tally
from orchestrator.contracts import METRIC_COLUMNS, DescribeTask, Outcome, TaskId, TrainingSettings, Trial
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.ledger import Ledger
from orchestrator.metadataset.reader import MetaDatasetReader
from orchestrator.metadataset.verify import verify
from orchestrator.scheduling import Scheduler
from tests.support.pool import SimulatedPool, a_point

SETTINGS = TrainingSettings(horizon_epochs=3)


def a_plan(tasks: int = 2, configs: int = 4, epochs: int = 3) -> list[Trial]:
    return [
        Trial(
            task_id=TaskId(f"{task:020x}"),
            task_source=f"worlds:{task}",
            task_name=f"task{task}",
            config={"learning_rate": 0.001 * (config + 1)},
            seed=0,
            base_model="tiny-phi3",
            base_fingerprint="f",
            space_version="v",
            settings=SETTINGS,
            max_epochs=epochs,
        )
        for config in range(configs)
        for task in range(tasks)
    ]


class CrashError(Exception):
    """Stands for the driver's death."""


def drive(
    root: Path,
    plan: list[Trial],
    pool: SimulatedPool,
    *,
    keep_adapters: int = 0,
    on_round: Callable[[], None] = lambda: None,
    stop: Callable[[], bool] = lambda: False,
    fault: Callable[[str], None] = lambda point: None,
) -> bool:
    with Ledger.open(root, fault=fault) as ledger:
        past = past_of(plan, ledger, runs_all=True)
        tally = Tally(plan)
        scheduler = Scheduler(plan, past=past)
        driver = SweepDriver(
            plan,
            layout=RootLayout(root),
            ledger=ledger,
            scheduler=scheduler,
            pool=pool,
            adapters=AdapterKeeper(
                RootLayout(root).adapters_dir, keep=keep_adapters, best_losses=tally.best_losses
            ),
            tally=tally,
            to_describe=[
                DescribeTask(
                    task_id=task_id,
                    source=f"worlds:{name}",
                    name=name,
                    base_model="tiny-phi3",
                    settings=SETTINGS,
                )
                for task_id, name in dict.fromkeys((t.task_id, t.task_name) for t in plan)
            ],
        )

        def checked_round() -> None:
            scheduler.validate()
            on_round()

        return driver.run(stop_requested=stop, on_round=checked_round)


def assert_exact(root: Path, plan: list[Trial]) -> None:
    """Every planned row is there once, with the numbers an uninterrupted run has."""
    curves = MetaDatasetReader(root).curves()
    expected = pd.DataFrame(
        [
            {name: getattr(a_point(trial, 0, epoch), name) for name in ("trial_id", "epoch", *METRIC_COLUMNS)}
            for trial in plan
            for epoch in range(1, trial.max_epochs + 1)
        ]
    )
    got = curves[list(expected.columns)].sort_values(["trial_id", "epoch"]).reset_index(drop=True)
    expected = expected.sort_values(["trial_id", "epoch"]).reset_index(drop=True)
    pd.testing.assert_frame_equal(got, expected, check_dtype=False, check_exact=True)
    certificate = verify(root, planned={trial.trial_id: trial.max_epochs for trial in plan})
    assert certificate.ok, certificate.render()


def test_every_trial_of_a_quiet_sweep_has_its_rows_its_outcome_and_its_tasks_described(
    tmp_path: Path,
) -> None:
    plan = a_plan()
    pool = SimulatedPool(2)
    assert drive(tmp_path, plan, pool)
    assert_exact(tmp_path, plan)
    trials = MetaDatasetReader(tmp_path).trials()
    assert (trials["outcome"] == "completed").all()
    assert (trials["train_s"] == 3.0).all()
    assert sorted(MetaDatasetReader(tmp_path).tasks()["name"]) == ["task0", "task1"]
    assert pool.released == {trial.trial_id for trial in plan}


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), workers=st.integers(1, 3), crashes=st.integers(0, 4))
def test_killed_workers_and_drivers_leave_the_rows_of_a_quiet_sweep(
    tmp_path_factory: pytest.TempPathFactory, seed: int, workers: int, crashes: int
) -> None:
    root = tmp_path_factory.mktemp("root")
    plan, chance = a_plan(), random.Random(seed)
    checkpoints = None
    for _ in range(crashes):
        pool = SimulatedPool(workers)
        if checkpoints is not None:
            pool._checkpoints = checkpoints
        checkpoints = pool._checkpoints

        def wreck(pool: SimulatedPool = pool) -> None:
            if chance.random() < 0.2:
                pool.kill(chance.choice(pool.workers))
            if chance.random() < 0.1:
                raise CrashError

        try:
            drive(root, plan, pool, on_round=wreck)
        except CrashError:
            continue
    last = SimulatedPool(workers)
    last._checkpoints = checkpoints or {}
    assert drive(root, plan, last)
    assert_exact(root, plan)


@settings(max_examples=25, deadline=None)
@given(cut=st.integers(0, 400))
def test_driver_cut_at_any_step_that_writes_is_continued_to_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    root = tmp_path_factory.mktemp("root")
    plan = a_plan(tasks=1, configs=3)
    steps = 0

    def fault(point: str) -> None:
        nonlocal steps
        steps += 1
        if steps == cut:
            raise CrashError(point)

    pool = SimulatedPool(2)
    try:
        drive(root, plan, pool, fault=fault)
    except CrashError:
        again = SimulatedPool(2)
        again._checkpoints = pool._checkpoints
        assert drive(root, plan, again)
    assert_exact(root, plan)


def test_results_that_are_no_success_are_rows_with_their_reason(tmp_path: Path) -> None:
    plan = a_plan(tasks=1, configs=3)
    bad = {plan[0].trial_id: Outcome.DIVERGED, plan[1].trial_id: Outcome.OUT_OF_MEMORY}
    pool = SimulatedPool(1, outcome_of=lambda trial: bad.get(trial.trial_id, Outcome.COMPLETED))
    assert drive(tmp_path, plan, pool)
    trials = MetaDatasetReader(tmp_path).trials().set_index("trial_id")
    assert {t: trials.loc[t, "outcome"] for t in bad} == {t: str(outcome) for t, outcome in bad.items()}
    assert trials.loc[plan[0].trial_id, "error"] == "simulated diverged"


def test_trial_that_kills_its_workers_is_set_aside_and_the_sweep_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.scheduling.scheduler.FIRST_BACKOFF_S", 0.0)
    plan = a_plan(tasks=1, configs=3)
    murderer = plan[0].trial_id
    pool = SimulatedPool(1)

    def die_of_it() -> None:
        for worker, queue in list(pool._queues.items()):
            if queue and queue[0].trial.trial_id == murderer and pool._epochs[worker] is not None:
                log = RootLayout(tmp_path).worker_log(worker)
                log.parent.mkdir(parents=True, exist_ok=True)
                log.write_text(f"Fatal Python error: Segmentation fault in {worker}\n")
                pool._checkpoints.clear()
                pool.kill(worker, blames_trial=True)

    assert drive(tmp_path, plan, pool, on_round=die_of_it)
    trials = MetaDatasetReader(tmp_path).trials().set_index("trial_id")
    assert dict(trials["outcome"].value_counts()) == {"completed": 2, "failed": 1}
    error = str(trials.loc[murderer, "error"])
    assert "3 workers died one after another under it" in error
    assert error.endswith("Fatal Python error: Segmentation fault in sim-2")


def test_stop_request_pauses_what_runs_and_leaves_a_root_that_continues(tmp_path: Path) -> None:
    plan = a_plan()
    rounds = iter(range(100))
    pool = SimulatedPool(2)
    assert not drive(tmp_path, plan, pool, stop=lambda: next(rounds) >= 5)
    on_record = MetaDatasetReader(tmp_path).curves()
    assert 0 < len(on_record) < 24
    events = MetaDatasetReader(tmp_path).attempts().groupby("event")["detail"].agg(list)
    assert events["paused"] == ["the sweep is drained"] * len(events["paused"])
    assert "lost" not in events.index
    again = SimulatedPool(1)
    again._checkpoints = pool._checkpoints
    assert drive(tmp_path, plan, again)
    assert_exact(tmp_path, plan)


def test_finished_trials_are_trained_further_when_the_plan_grows(tmp_path: Path) -> None:
    longer = a_plan(tasks=1, configs=2)
    short = [replace(trial, max_epochs=2) for trial in longer]
    bad = {short[0].trial_id: Outcome.DIVERGED}
    pool = SimulatedPool(1, outcome_of=lambda trial: bad.get(trial.trial_id, Outcome.COMPLETED))
    assert drive(tmp_path, short, pool)
    assert drive(tmp_path, longer, SimulatedPool(1))
    trials = MetaDatasetReader(tmp_path).trials().set_index("trial_id")
    assert dict(trials["epochs"]) == {longer[0].trial_id: 0, longer[1].trial_id: 3}
    assert trials.loc[longer[1].trial_id, "train_s"] == 3.0
    certificate = verify(tmp_path, planned={trial.trial_id: trial.max_epochs for trial in longer})
    assert certificate.ok, certificate.render()
    assert drive(tmp_path, longer, SimulatedPool(1))
    assert len(MetaDatasetReader(tmp_path).attempts().query("event == 'granted'")) == 3


def test_only_the_best_adapters_of_a_task_are_kept(tmp_path: Path) -> None:
    plan = a_plan(tasks=2, configs=4)
    adapters = RootLayout(tmp_path).adapters_dir
    for trial in plan:
        (adapters / trial.trial_id).mkdir(parents=True)
    assert drive(tmp_path, plan, SimulatedPool(2), keep_adapters=2)
    for task in {trial.task_id for trial in plan}:
        losses = sorted((a_point(t, 0, 3).eval_loss, t.trial_id) for t in plan if t.task_id == task)
        kept = {t.trial_id for t in plan if t.task_id == task and (adapters / t.trial_id).is_dir()}
        assert kept == {trial_id for _, trial_id in losses[:2]}
