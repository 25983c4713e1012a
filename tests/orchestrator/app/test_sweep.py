"""Whole sweeps on a real Ray, from the command line, as a person runs them."""

import glob
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from orchestrator.app.plan import plan_sweep
from orchestrator.app.roots import claim, planned_trials
from orchestrator.app.spec import load_spec
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.reader import MetaDatasetReader
from orchestrator.metadataset.verify import compare, verify

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

SPEC = {
    "name": "small",
    "base_model": "tiny-phi3",
    "tasks": ["worlds:towns", "worlds:organisms"],
    "configs": 2,
    "epochs": 3,
    "training": {
        "horizon_epochs": 3,
        "examples_per_epoch": 40,
        "max_eval_examples": 8,
        "max_length_tokens": 128,
        "max_new_tokens": 16,
    },
    "workers": {"max_count": 2},
}
POINTS = 12
JOINED = re.compile(r"worker joined .* pid=(\d+)")


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("spec with 'quotes'") / "small.yaml"
    path.write_text(yaml.safe_dump(SPEC))
    return path


def foretune(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "orchestrator.cli", *map(str, arguments)]


def run_to_end(*arguments: str | Path) -> str:
    done = subprocess.run(foretune(*arguments), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def quiet_root(spec: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("quiet") / "root"
    assert "Done: 4 trials" in run_to_end("run", spec, "--root", root)
    return root


def test_sweep_leaves_one_row_an_epoch_and_is_certified(quiet_root: Path) -> None:
    curves = pd.read_parquet(quiet_root / "curves")
    assert len(curves) == POINTS
    assert not curves.duplicated(["trial_id", "epoch"]).any()
    assert (curves[["eval_loss", "test_loss", "train_s", "eval_s", "peak_memory_bytes"]] > 0).all().all()
    certificate = verify(quiet_root, planned=planned_trials(quiet_root))
    assert certificate.ok, certificate.render()
    tasks = MetaDatasetReader(quiet_root).tasks(expand=True)
    assert sorted(tasks["name"]) == ["organisms", "towns"]
    assert not any((quiet_root / "checkpoints").iterdir())


def test_killed_driver_is_resumed_to_the_rows_of_the_quiet_sweep_bit_for_bit(
    spec: Path, quiet_root: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    driver = subprocess.Popen(foretune("run", spec, "--root", root), start_new_session=True)
    seen = 0
    try:
        while seen < 4:
            assert driver.poll() is None, "the sweep ended before it could be killed"
            if (root / "curves").is_dir():
                curves = pd.read_parquet(root / "curves")
                assert not curves.duplicated(["trial_id", "epoch"]).any()
                assert len(curves) >= seen, "a row that was visible is gone"
                seen = len(curves)
            time.sleep(0.05)
    finally:
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
    assert seen < POINTS
    assert "Done: 4 trials" in run_to_end("resume", root)
    certificate = verify(root, planned=planned_trials(root))
    assert certificate.ok, certificate.render()
    comparison = compare(quiet_root, root)
    assert comparison.ok, comparison.render()


def newest_checkpoints(layout: RootLayout) -> set[str]:
    """What the newest checkpoint of each living trial is called."""
    found = sorted(glob.glob("*/attempt-0/epoch-*", root_dir=layout.checkpoints_dir))
    return set({path.split("/")[0]: Path(path).name for path in found}.values())


def stopped_in_a_second_epoch(layout: RootLayout, driver: "subprocess.Popen[str]") -> list[int]:
    """Stop the workers where one of them is between a trial's first and last epoch, and name them.

    Were they not, both might be in a last epoch before the driver hears the signal: nothing would be paused.
    """
    while True:
        assert driver.poll() is None, "the sweep ended, and no trial was seen in its second epoch"
        time.sleep(0.02)
        if "epoch-0001" in newest_checkpoints(layout):
            workers = [int(pid) for pid in JOINED.findall(layout.driver_log.read_text())]
            for pid in workers:
                os.kill(pid, signal.SIGSTOP)
            if "epoch-0001" in newest_checkpoints(layout):
                return workers
            for pid in workers:
                os.kill(pid, signal.SIGCONT)


def test_interrupt_lets_running_epochs_finish_and_resume_goes_on_from_there(
    spec: Path, quiet_root: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    driver = subprocess.Popen(
        foretune("run", spec, "--root", root), start_new_session=True, stdout=subprocess.PIPE, text=True
    )
    layout = RootLayout(root)
    workers = stopped_in_a_second_epoch(layout, driver)
    os.killpg(driver.pid, signal.SIGINT)  # as a terminal does on Ctrl-C: to Ray's processes too
    while "draining" not in layout.driver_log.read_text():
        assert driver.poll() is None
        time.sleep(0.02)
    for pid in workers:
        os.kill(pid, signal.SIGCONT)
    output, _ = driver.communicate(timeout=60)
    assert driver.returncode == 3
    assert "running trials finish their epoch first" in output
    assert f"continue with: foretune resume {root}" in output
    events = MetaDatasetReader(root).attempts()["event"].value_counts()
    assert "lost" not in events.index
    assert events["paused"] >= 1
    run_to_end("resume", root)
    assert compare(quiet_root, root).ok


def test_second_interrupt_does_not_wait_for_running_epochs(tmp_path: Path) -> None:
    slow = tmp_path / "slow.yaml"
    slow.write_text(yaml.safe_dump({**SPEC, "base_model": "rehearsal:3000"}))
    root = tmp_path / "root"
    driver = subprocess.Popen(foretune("run", slow, "--root", root), stdout=subprocess.PIPE, text=True)
    while "started" not in set(MetaDatasetReader(root).attempts()["event"]):
        assert driver.poll() is None
        time.sleep(0.1)
    driver.send_signal(signal.SIGINT)
    assert driver.stdout is not None
    while "finish their epoch first" not in driver.stdout.readline():
        assert driver.poll() is None
    driver.send_signal(signal.SIGINT)
    driver.communicate(timeout=100)
    assert driver.returncode == 3
    certificate = verify(root)
    assert certificate.ok, certificate.render()


def test_finished_sweep_runs_nothing_again(spec: Path, quiet_root: Path) -> None:
    before = pd.read_parquet(quiet_root / "curves")
    began_s = time.monotonic()
    run_to_end("run", spec, "--root", quiet_root)
    assert time.monotonic() - began_s < 60
    pd.testing.assert_frame_equal(pd.read_parquet(quiet_root / "curves"), before)


def test_served_surrogate_answers_another_process_until_it_is_ended(quiet_root: Path) -> None:
    ask: list[str | Path] = [
        "recommend",
        "worlds:machines",
        "--budget",
        "60s",
        "--root",
        quiet_root,
        "--json",
    ]
    server = subprocess.Popen(foretune("serve", quiet_root), stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        assert "is up" in server.stdout.readline()
        served = json.loads(run_to_end(*ask))
    finally:
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=60)
    assert server.returncode == 0
    alone = json.loads(run_to_end(*ask))
    assert served.pop("answered_by").startswith("the surrogate actor at ")
    assert alone.pop("answered_by").startswith("this process")
    assert served == alone


def test_surrogate_says_so_when_no_trial_has_finished(spec: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    loaded = load_spec(spec)
    plan = plan_sweep(loaded)
    claim(root, loaded, plan.trials, plan.space.to_json())
    asked = foretune("recommend", "worlds:machines", "--budget", "60s", "--root", root)
    done = subprocess.run(asked, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "no trial under" in done.stderr
    assert "Traceback" not in done.stderr
