"""Looking at, following and stopping sweeps; the real cluster is in app/remote/test_submission.py."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from orchestrator.app.roots import claim
from orchestrator.app.spec import parse_spec
from orchestrator.cli.main import main
from orchestrator.contracts import WorkerId
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.lock import RootLock
from tests.cluster.test_jobs import TOKEN, StandIn
from tests.orchestrator.metadataset.records import Sweep, a_trial

SPEC = {"name": "s", "base_model": "rehearsal", "tasks": ["worlds:towns"], "configs": 2, "epochs": 3}
NOBODY = "http://127.0.0.1:9"
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    (tmp_path / "good.yaml").write_text(yaml.safe_dump(SPEC))
    return tmp_path


@pytest.fixture
def root(folder: Path) -> Path:
    claim(folder / "root", parse_spec(SPEC, where="s.yaml", folder=folder), [a_trial(0)], "{}")
    return folder / "root"


@pytest.fixture
def command(folder: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    def call(*arguments: str | Path) -> tuple[int, str, str]:
        exit_code = main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return exit_code, printed.out, printed.err

    return call


@pytest.fixture
def driver(root: Path) -> Iterator[RootLock]:
    lock = RootLock(RootLayout(root).lock_file, root)
    yield lock
    lock.release()


@pytest.fixture
def stand_in(root: Path) -> Iterator[StandIn]:
    server = StandIn().start()
    server.root = str(root)
    yield server
    server.stop()


@pytest.mark.parametrize("name", ["submit", "watch", "logs", "stop"])
def test_help_shows_an_example(command: Command, name: str) -> None:
    exit_code, out, _ = command(name, "--help")
    assert exit_code == 0
    assert f"Example: foretune {name} " in out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("submit missing.yaml --root /r --address h:1", "no sweep spec at missing.yaml"),
        ("submit good.yaml --root runs/r --address h:1", "an absolute path; got 'runs/r'"),
        ("submit good.yaml --root /r --address auto", "http://HOST:PORT or HOST:PORT, got 'auto'"),
        ("submit good.yaml --root /r", "set RAY_API_SERVER_ADDRESS"),
        (f"submit good.yaml --root /r --address {NOBODY}", f"no Ray job server answers at {NOBODY}"),
        ("submit good.yaml --root /r --address h:1 --runtime-env no.yaml", "no.yaml can't be read"),
        ("submit good.yaml --root /r --address h:1 --runtime-env list.yaml", "must hold a mapping"),
        ("submit good.yaml --root /r --address h:1 --runtime-env typo.yaml", "unknown key `pips`"),
        ("watch nowhere", "nowhere does not exist"),
        ("watch root --every never", "--every must be a number with a unit"),
        ("logs nowhere", "nowhere does not exist"),
        ("logs root", "no driver has been at work"),
        ("logs root --worker w7", "no log of worker 'w7'"),
        (f"logs /r --worker w7 --address {NOBODY}", "workers' logs lie in /r/logs/workers"),
        ("stop nowhere", "nowhere does not exist"),
        ("stop root --timeout 0", "--timeout must be above 0"),
        (f"stop /r --address {NOBODY}", f"no Ray job server answers at {NOBODY}"),
    ],
)
def test_bad_input_ends_with_2_and_one_sentence(
    command: Command, root: Path, arguments: str, sentence: str
) -> None:
    Path("list.yaml").write_text("- pip\n")
    Path("typo.yaml").write_text("pips: [emoji]\n")
    exit_code, out, err = command(*arguments.split())
    assert (exit_code, out) == (2, "")
    assert sentence in err
    assert err.startswith("foretune: ")
    assert len(err.splitlines()) == 1


def test_runtime_env_file_names_files_beside_it(folder: Path) -> None:
    from cluster.runtime_env import load_runtime_env

    (folder / "there").mkdir()
    (folder / "there" / "requirements.txt").write_text("emoji\n")
    (folder / "there" / "env.yaml").write_text("pip: requirements.txt\n")
    assert load_runtime_env(Path("there/env.yaml")) == {"pip": str(folder / "there" / "requirements.txt")}


def test_logs_prints_the_last_lines_of_driver_or_worker(command: Command, root: Path) -> None:
    layout = RootLayout(root)
    layout.worker_logs_dir.mkdir(parents=True)
    layout.driver_log.write_text("one\ntwo\nthree\n")
    layout.worker_log(WorkerId("w1")).write_text("loading\n")
    assert command("logs", root, "--lines", "2") == (0, "two\nthree\n", "")
    assert command("logs", root, "--worker", "w1") == (0, "loading\n", "")
    assert command("logs", root, "--follow", "-n", "1") == (0, "three\n", "")
    assert "there are w1" in command("logs", root, "--worker", "w2")[2]


def test_watch_of_a_done_sweep_says_so_and_ends(command: Command, root: Path) -> None:
    Sweep(root, [a_trial(0)]).run(lambda _point: None)
    assert command("watch", root) == (0, "1/1 trials (1 completed), 3 points, done\n", "")


def test_stop_where_no_driver_is_at_work_says_so(command: Command, root: Path) -> None:
    assert command("stop", root) == (0, f"No driver is at work in {root}.\n", "")
    facts = json.loads(command("stop", root, "--json")[1])
    assert facts == {"root": str(root), "was_at_work": False, "has_let_go": True}
    assert not RootLayout(root).stop_file.exists()


def test_stop_asks_the_driver_and_waits_until_it_has_let_go(
    command: Command, root: Path, driver: RootLock
) -> None:
    def drain() -> None:
        while not RootLayout(root).stop_file.exists():
            pass
        driver.release()

    draining = threading.Thread(target=drain)
    draining.start()
    exit_code, out, _ = command("stop", root)
    draining.join()
    assert exit_code == 0
    assert out.startswith("Stopped.")


def test_stop_ends_with_3_while_the_driver_still_drains(
    command: Command, root: Path, driver: RootLock
) -> None:
    exit_code, out, _ = command("stop", root, "--timeout", "0.2s")
    assert exit_code == 3
    assert out.startswith("Still draining after 0.2s")
    assert RootLayout(root).stop_file.exists()


@pytest.mark.parametrize(
    ("state", "code", "sentence"),
    [
        ("SUCCEEDED", 0, "has ended: done."),
        ("STOPPED", 3, "submit again to continue."),
        ("FAILED", 3, "stopped before the end (exit code 137); submit again to continue."),
    ],
)
def test_followed_job_ends_with_what_its_end_means(
    command: Command, root: Path, stand_in: StandIn, state: str, code: int, sentence: str
) -> None:
    stand_in.log, stand_in.state = "old\n8/8 trials\n", state
    stand_in.log_start = len("old\n")
    stand_in.message = "exit code 137, last available logs (truncated):\n8/8 trials"
    for words in (["watch", root], ["logs", root, "--follow"]):
        exit_code, out, _ = command(*words, "--address", stand_in.address)
        assert exit_code == code
        assert out.startswith("8/8 trials\nJob j ")
        assert out.rstrip().endswith(sentence)


def test_job_that_its_cluster_forgot_is_to_be_submitted_again(
    command: Command, root: Path, stand_in: StandIn
) -> None:
    stand_in.log, stand_in.drops, stand_in.forgets_at_drop = "1/8 trials\n", [11], True
    exit_code, out, _ = command("watch", root, "--address", stand_in.address)
    assert exit_code == 3
    assert out.startswith("1/8 trials\nThe cluster does not know the job any more")
    assert "knows no job for" in command("watch", root, "--address", stand_in.address)[2]


def test_logs_of_a_job_are_its_last_lines(command: Command, root: Path, stand_in: StandIn) -> None:
    stand_in.log = "one\ntwo\nthree\n"
    assert command("logs", root, "-n", "2", "--address", stand_in.address) == (0, "two\nthree\n", "")


def test_stop_of_an_ended_job_says_that_nothing_was_at_work(
    command: Command, root: Path, stand_in: StandIn
) -> None:
    stand_in.state = "SUCCEEDED"
    exit_code, out, _ = command("stop", root, "--address", stand_in.address)
    assert (exit_code, out) == (0, f"No driver is at work in {root}.\n")


def interrupted(first_line: str, *arguments: str | Path) -> tuple[int, str]:
    """Press Ctrl-C when a command has printed a line."""
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestrator.cli", *map(str, arguments)],
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert re.match(first_line, process.stdout.readline())
    process.send_signal(signal.SIGINT)
    return process.returncode if process.poll() else process.wait(20), process.communicate()[1]


def test_ctrl_c_ends_watching_and_leaves_the_sweep_alone(root: Path) -> None:
    exit_code, err = interrupted("0/1 trials", "watch", root)
    assert exit_code == 130
    assert f"foretune stop {root}" in err
    assert not RootLayout(root).stop_file.exists()


def test_ctrl_c_ends_following_and_says_how_to_stop(root: Path, stand_in: StandIn) -> None:
    stand_in.log = "0/8 trials\n"
    exit_code, err = interrupted("0/8 trials", "watch", root, "--address", stand_in.address)
    assert exit_code == 130
    where = f"{root} --address http://{stand_in.address}"
    assert f"foretune watch {where}" in err
    assert f"foretune stop {where}" in err
    assert stand_in.state == "RUNNING"
