import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator.app.exits import Exit
from orchestrator.cli.main import app, main
from surrogates.data.store import write_tables
from tests.orchestrator.app.live.pasts import NEW, rehearse
from tests.surrogates.synthetic import World, make


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    write_tables(make(World(tasks=3, configs=8, epochs=2)), tmp_path / "tables")
    return tmp_path / "tables"


def test_evaluate_prints_a_line_a_method_and_the_table(tables: Path) -> None:
    done = CliRunner().invoke(
        app,
        ["evaluate", str(tables), "--methods", "transfer-only, random", "--budgets", "1,3", "--seeds", "1"],
    )
    assert done.exit_code == 0, done.output
    assert "random: 3 replays in" in done.output
    assert "3 tasks left out in turn, 1 seed, 24 trials" in done.output
    assert "regret 1x" in done.output
    assert "no corrected p can be below 0.25" in done.output
    assert f"written to {tables / 'evaluation'}" in done.output.replace("\n", "")


def test_evaluate_json_is_the_results_and_nothing_else(tables: Path, tmp_path: Path) -> None:
    options = ["--methods", "random", "--budgets", "1", "--seeds", "1", "--no-own-time", "--json"]
    done = CliRunner().invoke(app, ["evaluate", str(tables), *options, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout)
    assert printed == json.loads((tmp_path / "out" / "results.json").read_text())
    assert printed["own_time"] is False
    assert printed["methods"]["with_own_time"][0]["at"][0]["regret"]["n"] == 3
    assert not (tables / "evaluation").exists()


def test_evaluate_on_another_root_says_what_was_learned_from_and_tested_on(
    tables: Path, tmp_path: Path
) -> None:
    write_tables(make(World(tasks=2, configs=8, epochs=2, seed=1)), tmp_path / "other")
    options = ["--methods", "average rank,random", "--budgets", "1", "--seeds", "1"]
    done = CliRunner().invoke(app, ["evaluate", str(tables), "--on", str(tmp_path / "other"), *options])
    assert done.exit_code == 0, done.output
    assert "average rank: 2 replays in" in done.output
    told = "".join(done.output.split())  # the screen breaks long paths
    assert f"learnedfrom24trialson3tasksof{tables}" in told
    assert f"testedon2tasksof{tmp_path / 'other'}" in told
    assert (tmp_path / "other" / "transfer" / "results.json").is_file()
    assert not (tables / "evaluation").exists()


def test_evaluate_live_prints_a_line_a_run_and_the_tables_and_its_json_is_the_results(tmp_path: Path) -> None:
    past = rehearse(tmp_path / "past", epoch_s=0.002, configs=2)
    options = ["--live", NEW, "--methods", "random,zero-shot", "--budgets", "1,3", "--seeds", "1"]
    done = CliRunner().invoke(app, ["evaluate", str(past), *options])
    assert done.exit_code == 0, done.output
    assert "seed 0: random: test loss" in done.output
    assert (
        "1 new task, 1 seed; learned from 4 trials on 2 tasks; 2 candidates, 0 of them fresh" in done.output
    )
    for shown in ("loss/zero-shot 3x", "On the test split, at 3x", "zero-shot test loss"):
        assert shown in done.output
    again = CliRunner().invoke(app, ["evaluate", str(past), *options, "--json"])
    assert json.loads(again.stdout) == json.loads((past / "live" / "results.json").read_text())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--budgets", "1,x"], "--budgets must be numbers between commas"),
        (["--methods", "nobody"], "there is no method 'nobody'"),
        (["--metric", "accuracy"], "are about loss, not accuracy"),
        (["--live", "worlds:towns?seed=7", "--on", "other"], "--live finetunes and --on replays"),
        (["--fresh", "2"], "name a new task with --live TASK"),
        (["--live", "worlds:towns?seed=7"], "holds tables of another origin"),
        (["--live", "worlds:towns?seed=7", "--metric", "accuracy"], "eval_loss decides, not accuracy"),
        (["--live", "worlds:towns?seed=7", "--ablations"], "leave out --live, or --ablations"),
    ],
)
def test_evaluate_refuses_what_it_cannot_do(
    tables: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(tables), *options]) == Exit.BAD_INPUT
    assert message in capsys.readouterr().err


def test_evaluate_says_that_it_was_interrupted(
    tables: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("orchestrator.app.evaluate.evaluate", interrupt)
    assert main(["evaluate", str(tables)]) == Exit.INTERRUPTED
    assert "the same command goes on" in capsys.readouterr().err
