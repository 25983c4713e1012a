"""``foretune generate``: one command from documents to a task, that can be killed and given again."""

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.app.exits import Exit
from orchestrator.cli.main import main
from tests.support.endpoint import Body, FakeEndpoint
from tests.support.scribe import document, scribe
from workers.tasks.loading import load_task

CHECKOUT = Path(__file__).resolve().parents[3]


@pytest.fixture
def endpoint() -> Iterator[FakeEndpoint]:
    with FakeEndpoint(scribe) as fake:
        yield fake


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "aro.md").write_text(document("Mount Aro", facts=4))
    (tmp_path / "papers" / "bel.md").write_text(document("Lake Bel", facts=4))
    (tmp_path / "empty").mkdir()
    (tmp_path / "short").mkdir()
    (tmp_path / "short" / "a.txt").write_text("Hello.")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def arguments(endpoint: FakeEndpoint, *more: str) -> list[str]:
    return [
        *("generate", "from-documents", "papers", "--endpoint", endpoint.url, "--model", "m"),
        *("--out", "task.jsonl", *more),
    ]


def block_after(endpoint: FakeEndpoint, answers: int) -> threading.Event:
    """Let the endpoint answer so often, then fall silent; the event is set when it does."""
    is_silent = threading.Event()

    def answer(body: Body) -> str:
        if len(endpoint.answered) > answers:
            is_silent.set()
            threading.Event().wait(30)
        return scribe(body)

    endpoint.answer = answer
    return is_silent


def start(endpoint: FakeEndpoint, folder: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "orchestrator.cli", *arguments(endpoint, *more)],
        cwd=folder,
        env={"PYTHONPATH": str(CHECKOUT), "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_kill_9_loses_no_answer_and_the_same_command_asks_none_twice(
    endpoint: FakeEndpoint, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    is_silent = block_after(endpoint, 5)
    with start(endpoint, folder, "--concurrency", "1") as process:
        assert is_silent.wait(60)
        process.kill()
    kept = {path.name for path in (folder / "task.generation" / "answers").glob("*.json")}
    assert len(kept) == 5
    assert not (folder / "task.jsonl").exists()
    before = [json.dumps(body, sort_keys=True) for body in endpoint.answered[:5]]
    endpoint.answered.clear()
    endpoint.answer = scribe
    assert main(arguments(endpoint, "--json")) == Exit.DONE
    report = json.loads(capsys.readouterr().out)
    after = [json.dumps(body, sort_keys=True) for body in endpoint.answered]
    assert len({*before, *after}) == len(before) + len(after) == 2 + 8
    assert (report["cost"]["requests"], report["cost_now"]["requests"]) == (10, 5)
    assert len(load_task("task.jsonl").train) == 80


def test_ctrl_c_ends_cleanly_and_says_how_to_continue(endpoint: FakeEndpoint, folder: Path) -> None:
    is_silent = block_after(endpoint, 3)
    with start(endpoint, folder, "--concurrency", "1", "--timeout", "500ms") as process:
        assert is_silent.wait(60)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == Exit.STOPPED_EARLY, err
    assert "Stopping: the requests under way are waited for; Ctrl-C again stops at once." in out
    assert "Stopped before the end: it was interrupted" in out
    assert "The answers so far lie in task.generation; the same command continues." in out
    assert "Traceback" not in out + err


def test_report_is_for_people_or_json(
    endpoint: FakeEndpoint, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(endpoint, "--price-per-million-tokens", "1000,1000")) == Exit.DONE
    said = capsys.readouterr().out
    assert "2 documents read" in said
    assert "cost: 10 requests" in said
    assert "at this price" in said
    assert "8 facts: 80 examples to train, 8 to validate, 8 to test" in said
    assert "Done: the task is task.jsonl" in said
    assert main(arguments(endpoint, "--json")) == Exit.DONE
    report = json.loads(capsys.readouterr().out)
    assert report["task"]["train"] == 80
    assert report["rejects"] == {"passage": {}, "fact": {}, "pair": {"more than asked for": 16}}


def test_dry_run_needs_no_endpoint_and_writes_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(folder.rglob("*"))
    command = ["generate", "from-documents", "papers", "--out", "tasks", "--dry-run"]
    assert main(command) == Exit.DONE
    said = capsys.readouterr().out
    assert "2 passages" in said
    assert "about 22 requests" in said
    assert "Nothing was asked." in said
    assert main([*command, "--json", "--limit", "1", "--price-per-million-tokens", "1,2"]) == Exit.DONE
    preview = json.loads(capsys.readouterr().out)
    assert preview["at_most"]["requests"] == 11
    assert preview["money_at_most"] > 0
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"papers": "nowhere"}, "no folder of documents at nowhere"),
        ({"papers": "empty"}, "empty holds no document"),
        ({"papers": "short"}, "too short to hold a fact"),
        ({"m": "other"}, "has no model 'other'"),
        ({"task.jsonl": "task.csv"}, "name the file task.jsonl"),
        ({"URL": "localhost"}, "is no URL of an endpoint"),
        ({"+": "--price-per-million-tokens=1"}, "must be two numbers"),
        ({"+": "--price-per-million-tokens=1,-2"}, "must be 0 or more, got -2.0"),
        ({"+": "--timeout=soon"}, "--timeout must be a number with a unit"),
        ({"+": "--concurrency=0"}, "concurrency must be at least 1, got 0"),
        ({"+": "--passage-chars=5"}, "passage_chars must be at least 200, got 5"),
        ({"+": "--limit=0"}, "most_passages must be at least 1, got 0"),
        ({"+": "--prompts=empty"}, "empty holds no prompt"),
        ({"+": "--name=a/b"}, "'a/b' can't be the name of a task"),
        ({"+": "--api-key-env=NO_SUCH_KEY"}, "NO_SUCH_KEY"),
    ],
)
def test_what_can_not_be_is_one_sentence_and_leaves_no_task(
    endpoint: FakeEndpoint,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, str],
    sentence: str,
) -> None:
    added = [value for key, value in changes.items() if key == "+"]
    changed = {endpoint.url: changes["URL"]} if "URL" in changes else changes
    command = [changed.get(argument, argument) for argument in arguments(endpoint)]
    assert main([*command, *added]) == Exit.BAD_INPUT
    said = capsys.readouterr().err
    assert said.startswith("foretune: ")
    assert sentence in said
    assert "Traceback" not in said
    assert not (folder / "task.jsonl").exists()


def test_endpoint_that_is_not_there_is_refused_before_anything_is_written(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
    before = sorted(folder.rglob("*"))
    command = ["generate", "from-documents", "papers", "--endpoint", url, "--model", "m", "--out", "t.jsonl"]
    assert main(command) == Exit.BAD_INPUT
    assert f"no endpoint answers at {url} (Connection refused)" in capsys.readouterr().err
    assert sorted(folder.rglob("*")) == before


def test_without_an_endpoint_nothing_is_asked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "from-documents", "papers", "--out", "t.jsonl"]) == Exit.BAD_INPUT
    assert "name the model to ask with --endpoint URL and --model NAME" in capsys.readouterr().err


def test_prompts_are_written_to_be_edited(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "prompts", "--out", "own"]) == Exit.DONE
    assert capsys.readouterr().out.split() == ["own/facts.md", "own/pairs.md"]
    assert "$passage" in (folder / "own" / "facts.md").read_text()
    assert main(["generate", "prompts", "--out", "own"]) == Exit.BAD_INPUT
