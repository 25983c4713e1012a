"""The command begins to measure before it knows what, and never leaves a process behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from orchestrator.cli.entry import measures


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("recommend mytask.jsonl --budget 60s", True),
        ("-v recommend --budget 60s mytask.jsonl --json", True),
        ("recommend --features f.json --budget 60s --root tables", False),
        ("recommend --features=f.json --budget 60s --root tables", False),
        ("recommend mytask.jsonl --budget 60s --base-model other", False),
        ("recommend --help", False),
        ("recommend", False),
        ("status recommend", False),
        ("", False),
    ],
)
def test_only_a_question_about_a_task_has_one_measured(line: str, expected: bool) -> None:
    assert measures(line.split()) is expected


def begin(*arguments: str, folder: Path) -> "subprocess.Popen[str]":
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(
        [sys.executable, "-m", "orchestrator.cli", *arguments],
        cwd=folder,
        env=environment | {"FORETUNE_CACHE": str(folder / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def child_of(process: "subprocess.Popen[str]") -> psutil.Process:
    while process.poll() is None:
        for child in psutil.Process(process.pid).children():
            if "workers.metafeatures.aside" in child.cmdline():
                return child
        time.sleep(0.01)
    raise AssertionError("nothing was begun")


def test_a_missing_file_is_one_sentence_and_leaves_no_process_behind(tmp_path: Path) -> None:
    process = begin("recommend", "none.jsonl", "--budget", "60s", folder=tmp_path)
    child = child_of(process)
    said, complained = process.communicate()
    assert (process.returncode, said) == (2, "")
    assert complained.startswith("foretune: ")
    assert complained.count("\n") == 1
    assert "none.jsonl" in complained
    assert not child.is_running()


def test_an_interruption_leaves_no_process_behind(tmp_path: Path) -> None:
    rows = [{"question": f"What is {n}?", "answer": str(n)} for n in range(100)]
    (tmp_path / "mytask.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    process = begin("recommend", "mytask.jsonl", "--budget", "60s", folder=tmp_path)
    child = child_of(process)
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode != 0
    assert not child.is_running()
