"""Bad input: one clear sentence, a non-zero exit, nothing half-written."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.app.shipped import shipped_root
from orchestrator.cli.main import main

SPEC: dict[str, Any] = {
    "name": "s",
    "base_model": "tiny-phi3",
    "tasks": ["good.jsonl"],
    "configs": 2,
    "epochs": 2,
}
ROWS = [
    {"question": f"What is {n}?", "answer": str(n), "split": split}
    for n, split in enumerate(["train", "train", "validation", "test"])
]

Command = Callable[..., tuple[int, str]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "good.jsonl", ROWS)
    write_rows(tmp_path / "no-answer.jsonl", [*ROWS, {"question": "And this?", "split": "train"}])
    write_rows(tmp_path / "no-test.jsonl", [row for row in ROWS if row["split"] != "test"])
    (tmp_path / "empty.jsonl").touch()
    return tmp_path


def write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def command(folder: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    def call(*arguments: str) -> tuple[int, str]:
        exit_code = main(arguments)
        return exit_code, capsys.readouterr().err

    return call


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"bogus": 1}, "unknown key `bogus`"),
        ({"configs": [{"learning_rate": 0.5}]}, "learning_rate must be in"),
        ({"space": {"learning_rate": {"min": 1, "max": 0.1}}}, "learning_rate"),
        ({"preset": "huge"}, "huge"),
        ({"tasks": ["missing.jsonl"]}, "missing.jsonl"),
        ({"tasks": ["empty.jsonl"]}, "empty.jsonl"),
        ({"tasks": ["no-answer.jsonl"]}, "no-answer.jsonl"),
        ({"tasks": ["no-test.jsonl"]}, "test"),
        ({"tasks": ["worlds:atlantis"]}, "atlantis"),
        ({"base_model": "./nowhere"}, "nowhere"),
    ],
)
def test_sweep_that_cannot_be_run_is_refused_before_its_root_is_made(
    command: Command, folder: Path, changes: dict[str, Any], sentence: str
) -> None:
    (folder / "s.yaml").write_text(yaml.safe_dump(SPEC | changes))
    exit_code, said = command("run", "s.yaml", "--root", "root")
    assert exit_code == 2
    assert said.startswith("foretune: ")
    assert sentence in said
    assert "Traceback" not in said
    assert not (folder / "root").exists()


def test_row_without_an_answer_is_named_by_file_and_line(command: Command, folder: Path) -> None:
    (folder / "s.yaml").write_text(yaml.safe_dump(SPEC | {"tasks": ["no-answer.jsonl"]}))
    _, said = command("run", "s.yaml", "--root", "root", "--dry-run")
    assert "no-answer.jsonl" in said
    assert "5" in said
    assert "answer" in said


def test_root_that_holds_something_else_is_refused_and_left_alone(command: Command, folder: Path) -> None:
    (folder / "s.yaml").write_text(yaml.safe_dump(SPEC))
    (folder / "root").mkdir()
    (folder / "root" / "thesis.tex").write_text("precious")
    exit_code, said = command("run", "s.yaml", "--root", "root")
    assert exit_code == 2
    assert "is not empty and holds no sweep" in said
    assert [path.name for path in (folder / "root").iterdir()] == ["thesis.tex"]


def test_root_of_another_sweep_is_refused_with_the_difference(command: Command, folder: Path) -> None:
    (folder / "s.yaml").write_text(yaml.safe_dump(SPEC))
    (folder / "root").mkdir()
    (folder / "root" / "sweep.yaml").write_text(
        yaml.safe_dump(SPEC | {"epochs": 5, "tasks": [str(folder / "good.jsonl")]})
    )
    exit_code, said = command("run", "s.yaml", "--root", "root")
    assert exit_code == 2
    assert "belongs to another sweep: `epochs` is 5 there and 2 here" in said


@pytest.mark.parametrize("budget", ["0", "0h", "soon"])
def test_budget_that_buys_nothing_is_refused(command: Command, budget: str) -> None:
    exit_code, said = command("recommend", "good.jsonl", "--budget", budget)
    assert exit_code == 2
    assert "--budget must be" in said


def test_recommend_without_a_sweep_of_ones_own_and_without_what_ships_says_what_to_do(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def nothing() -> Path:
        return shipped_root(tmp_path / "nothing")

    monkeypatch.setattr("orchestrator.app.advice.shipped_root", nothing)
    exit_code, said = command("recommend", "good.jsonl", "--budget", "60s")
    assert exit_code == 2
    assert "came without it; name a sweep with --root" in said


@pytest.mark.parametrize("verb", ["resume", "status", "verify"])
def test_root_that_is_not_there_is_named(command: Command, verb: str) -> None:
    exit_code, said = command(verb, "nowhere")
    assert exit_code == 2
    assert "nowhere does not exist; start one with `foretune run" in said


def test_unknown_option_is_refused_with_exit_code_2(command: Command) -> None:
    exit_code, said = command("run", "s.yaml", "--rot", "x")
    assert exit_code == 2
    assert "--rot" in said


COMMANDS = [
    *("quickstart", "run", "resume", "status", "verify", "reproduce"),
    *("serve", "recommend", "tune", "evaluate", "import", "export", "space", "doctor", "pretrain"),
]


@pytest.mark.parametrize("command", [[name] for name in COMMANDS] + [["generate", "worlds"]], ids=" ".join)
def test_every_command_has_json_and_help_with_an_example(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--help"]) == 0
    said = " ".join(capsys.readouterr().out.replace("`", "").split())
    assert f"Example: foretune {' '.join(command)}" in said
    assert "--json" in said
