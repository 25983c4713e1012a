"""Plans run in this process, through the real ledger, with trials that train nothing."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pandas as pd
import pytest

from orchestrator.app import tune as tuning
from orchestrator.app.exits import Exit
from orchestrator.app.roots import planned_trials
from orchestrator.app.sweep import run_sweep
from orchestrator.app.tune import spent_s, tune
from orchestrator.app.tuning_plan import StoredPlan, TuningLayout
from orchestrator.cli.main import main
from orchestrator.contracts import InputError, config_id
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.reader import MetaDatasetReader
from orchestrator.metadataset.verify import verify
from tests.support.tuning import CONFIGS, TASK, make_plan, write_plan

BUDGET_S = 1e6
_RUN = """
import sys
import threading
from functools import partial
from pathlib import Path
from orchestrator.app import tune
tune.run_sweep = partial(tune.run_sweep, in_process=True)
tune.tune(sys.argv[1], float(sys.argv[2]), out=Path(sys.argv[3]))
"""


@pytest.fixture(autouse=True)
def _without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "run_sweep", partial(run_sweep, in_process=True))


def curves(out: Path) -> pd.DataFrame:
    return MetaDatasetReader(TuningLayout(out).sweep).curves()


def reached(out: Path) -> dict[int, int]:
    """How far every config came, by its number, in the order in which they were begun."""
    numbers = {str(config_id(config)): number for number, config in enumerate(CONFIGS)}
    rows = curves(out)
    assert not rows.duplicated(["trial_id", "epoch"]).any()
    return {
        numbers[str(key)]: int(group["epoch"].max()) for key, group in rows.groupby("config_id", sort=False)
    }


def assert_certified(out: Path) -> None:
    root = TuningLayout(out).sweep
    certificate = verify(root, planned=planned_trials(root))
    assert certificate.ok, certificate.render()


def test_plan_is_run_in_its_order_each_config_to_its_own_epochs(tmp_path: Path) -> None:
    write_plan(tmp_path, [(3, 2), (0, 5), (1, 1)])
    report = tune(TASK, BUDGET_S, out=tmp_path)
    assert report.is_done
    assert list(reached(tmp_path).items()) == [(3, 2), (0, 5), (1, 1)]
    assert [item.reached and item.reached.epochs for item in report.choices] == [2, 5, 1]
    assert all(item.is_inside for item in report.choices)
    assert_certified(tmp_path)


def test_config_that_comes_again_is_continued(tmp_path: Path) -> None:
    write_plan(tmp_path, [(0, 1), (0, 2), (1, 2), (0, 4), (2, 1), (1, 3)], epoch_s=0.01)
    report = tune(TASK, BUDGET_S, out=tmp_path)
    assert reached(tmp_path) == {0: 4, 1: 3, 2: 1}
    rows = curves(tmp_path)
    order = [(config_id(CONFIGS[n]), e) for n, e in [(0, 1), (0, 2), (1, 1), (1, 2), (0, 3), (0, 4), (2, 1)]]
    assert list(zip(rows["config_id"], rows["epoch"], strict=True))[:7] == order
    costs = [item.reached.cost_s for item in report.choices if item.reached is not None]
    assert costs == pytest.approx([0.01, 0.01, 0.02, 0.02, 0.01, 0.01], abs=0.005)
    assert_certified(tmp_path)
    assert not any(RootLayout(TuningLayout(tmp_path).sweep).checkpoints_dir.iterdir())


def test_budget_that_is_gone_ends_begun_trials_where_they_stand_and_begins_no_more(tmp_path: Path) -> None:
    write_plan(tmp_path, [(0, 6), (1, 6), (2, 6)], budget_s=0.4, epoch_s=0.05)
    report = tune(TASK, 0.4, out=tmp_path)
    assert report.is_done
    came = reached(tmp_path)
    assert came[0] == 6
    assert 1 <= came[1] < 6
    assert 2 not in came
    assert 0.4 <= report.spent_s < 0.8
    assert [item.is_inside for item in report.choices] == [True, None, None]
    trials = MetaDatasetReader(TuningLayout(tmp_path).sweep).trials()
    assert list(trials["outcome"]) == ["completed", "completed"]
    assert_certified(tmp_path)
    before = curves(tmp_path)
    assert tune(TASK, 0.4, out=tmp_path).is_done
    pd.testing.assert_frame_equal(curves(tmp_path), before)


def test_run_that_was_killed_goes_on_with_the_seconds_it_has_left(tmp_path: Path) -> None:
    budget_s = 3.0  # seconds of epochs, seven times those that are waited for: a busy machine sees them late
    write_plan(tmp_path, [(config, 6) for config in range(6)], budget_s=budget_s, epoch_s=0.1)
    command = [sys.executable, "-c", _RUN, TASK, str(budget_s), str(tmp_path)]
    driver = subprocess.Popen(command)
    try:
        while len(curves(tmp_path)) < 4:
            assert driver.poll() is None
            time.sleep(0.02)
    finally:
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
    before_s = spent_s(TuningLayout(tmp_path).sweep)
    report = tune(TASK, budget_s, out=tmp_path)
    assert 0.4 <= before_s < budget_s <= report.spent_s
    assert report.spent_s < budget_s + 0.25
    assert sum(reached(tmp_path).values()) == len(curves(tmp_path))
    assert_certified(tmp_path)


def test_folder_with_the_plan_of_another_question_is_refused_and_says_how_to_go_on(tmp_path: Path) -> None:
    write_plan(tmp_path, [(0, 1)])
    with pytest.raises(InputError, match=r"a plan for a budget of 1e\+06 s and not 5 s; .* --replan"):
        tune(TASK, 5.0, out=tmp_path)
    with pytest.raises(InputError, match="other rows of machines and what was learned from"):
        tune("worlds:towns", BUDGET_S, out=tmp_path, root=tmp_path / "elsewhere")
    assert not TuningLayout(tmp_path).sweep.exists()


def test_replanning_keeps_what_was_trained_and_counts_its_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = write_plan(tmp_path, [(0, 2), (1, 2)], epoch_s=0.1)
    tune(TASK, BUDGET_S, out=tmp_path)

    def advise(_source: str, budget_s: float, *, root: Path | None) -> SimpleNamespace:
        assert root == first.root
        plan = make_plan([(1, 4), (2, 6)], budget_s=budget_s)
        task = SimpleNamespace(task_id=first.task_id, name=first.task_name)
        return SimpleNamespace(plan=plan, task=task, root=root, default_config=first.default_config)

    # In place of the module, which loads torch and asks a surrogate that there is none of here.
    surrogate = ModuleType("orchestrator.app.advice")
    surrogate.recommend = advise  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "orchestrator.app.advice", surrogate)
    monkeypatch.setattr("orchestrator.app.tuning_plan.learnable_spec", lambda _root: first.like)
    # 0.4 s were spent before, 0.2 s of it on a config that is no longer planned.
    report = tune(TASK, 0.75, out=tmp_path, replan=True)
    came = reached(tmp_path)
    assert (came[0], came[1]) == (2, 4)
    assert 1 <= came[2] < 6
    assert 0.75 <= report.spent_s < 1.2
    stored = StoredPlan.read(TuningLayout(tmp_path))
    assert stored is not None
    assert stored.budget_s == 0.75


def test_best_adapter_is_that_of_the_lowest_validation_loss_and_replaces_an_earlier_one(
    tmp_path: Path,
) -> None:
    write_plan(tmp_path, [(0, 3), (1, 3)])
    assert tune(TASK, BUDGET_S, out=tmp_path).adapter is None
    layout = TuningLayout(tmp_path)
    losses = curves(tmp_path).groupby("trial_id")["eval_loss"].min().sort_values()
    best, other = (RootLayout(layout.sweep).adapter_dir(key) for key in losses.index)
    for trial in (other, best):
        trial.mkdir(parents=True)
        (trial / "adapter_config.json").write_text(trial.name)
        report = tune(TASK, BUDGET_S, out=tmp_path)
        assert report.adapter == tmp_path / "best-adapter"
        assert (tmp_path / "best-adapter" / "adapter_config.json").read_text() == trial.name
    assert not list(tmp_path.glob(".best*"))


def test_command_prints_the_report_and_says_when_no_adapter_came_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_plan(tmp_path, [(0, 1), (1, 2)])
    command = ["tune", TASK, "--budget", f"{BUDGET_S}s", "--out", str(tmp_path)]
    assert main([*command, "--json"]) is Exit.NO
    printed = capsys.readouterr()
    content = json.loads(printed.out)
    assert (content["is_done"], content["adapter"]) == (True, None)
    assert [choice["reached"]["epochs"] for choice in content["choices"]] == [1, 2]
    assert "no trial gave an adapter" in printed.err
    assert main(["tune", TASK, "--budget", "5h", "--out", str(tmp_path)]) is Exit.BAD_INPUT
    assert "name another --out" in capsys.readouterr().err


def test_command_that_is_asked_to_stop_ends_early_and_the_same_command_finishes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_plan(tmp_path, [(0, 6), (1, 6)], epoch_s=0.2)
    root = TuningLayout(tmp_path).sweep

    def stop_after_the_first_point() -> None:
        while curves(tmp_path).empty:
            time.sleep(0.02)
        RootLayout(root).stop_file.touch()

    stopper = threading.Thread(target=stop_after_the_first_point)
    stopper.start()
    command = ["tune", TASK, "--budget", f"{BUDGET_S}s", "--out", str(tmp_path)]
    assert main(command) is Exit.STOPPED_EARLY
    stopper.join()
    assert "the same command continues" in capsys.readouterr().err
    assert 0 < len(curves(tmp_path)) < 12
    assert main(command) is Exit.NO
    assert reached(tmp_path) == {0: 6, 1: 6}
    assert_certified(tmp_path)
