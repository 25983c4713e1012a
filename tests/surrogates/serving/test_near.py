"""The short way to a planner, on real sockets and between real processes."""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from surrogates.serving.near import NearCaller, NearServer, Reply, socket_path

_SERVE = """
import sys, time
from pathlib import Path
from surrogates.serving.near import NearServer
NearServer(Path(sys.argv[1]), lambda asked, at_least: ("plan", sys.argv[2].encode()))
print("ready", flush=True)
time.sleep(600)
"""


def end(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.communicate()


def echo(asked: Mapping[str, Any], at_least: int) -> Reply:
    return "plan", json.dumps([asked, at_least]).encode()


@pytest.fixture
def path() -> Iterator[Path]:
    """Of a socket that nobody else has: paths of sockets are short, and pytest's folders are not."""
    path = socket_path(f"test {uuid.uuid4()}")
    yield path
    path.unlink(missing_ok=True)


@pytest.fixture
def caller(path: Path) -> NearCaller:
    return NearCaller(path, timeout_s=30.0)


@pytest.fixture
def serve(path: Path) -> Iterator[Callable[[str], "subprocess.Popen[str]"]]:
    started = []

    def start(says: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", _SERVE, str(path), says]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        end(process)


def test_question_and_answer_arrive_whole_however_large(path: Path, caller: NearCaller) -> None:
    NearServer(path, echo)
    small, large = {"budget_s": 1.5}, {"candidates": [{"name": "x" * 1000}] * 3000}
    for asked in (small, large, small):
        reply = caller.ask(asked, 3)
        assert reply is not None
        assert (reply[0], json.loads(reply[1])) == ("plan", [asked, 3])


def test_every_thread_gets_its_own_answers_and_one_is_made_at_a_time(path: Path, caller: NearCaller) -> None:
    at_once, most = 0, 0

    def slow(asked: Mapping[str, Any], at_least: int) -> Reply:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        time.sleep(0.001)
        at_once -= 1
        return echo(asked, at_least)

    NearServer(path, slow)

    def ask(number: int) -> bool:
        reply = caller.ask({"k": number}, number)
        return reply is not None and json.loads(reply[1]) == [{"k": number}, number]

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(ask, range(200)))
    assert most == 1


def test_where_nobody_listens_there_is_no_answer(path: Path, caller: NearCaller) -> None:
    assert caller.ask({}, 0) is None
    path.parent.mkdir(mode=0o700, exist_ok=True)
    deaf = socket.socket(socket.AF_UNIX)
    deaf.bind(str(path))
    deaf.close()
    assert caller.ask({}, 0) is None


def test_question_that_is_not_plain_is_left_to_the_long_way(path: Path, caller: NearCaller) -> None:
    NearServer(path, echo)
    assert caller.ask({"features": {1, 2}}, 0) is None


def test_killed_server_is_told_once_and_its_successor_is_found(
    caller: NearCaller, serve: Callable[[str], "subprocess.Popen[str]"]
) -> None:
    first = serve("first")
    assert caller.ask({}, 0) == ("plan", b"first")
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    with pytest.raises(ConnectionError):
        caller.ask({}, 0)
    assert caller.ask({}, 0) is None
    serve("second")
    assert caller.ask({}, 0) == ("plan", b"second")


def test_caller_whose_connection_went_with_the_server_gets_the_successors_answer(
    caller: NearCaller, serve: Callable[[str], "subprocess.Popen[str]"]
) -> None:
    first = serve("first")
    assert caller.ask({}, 0) == ("plan", b"first")
    first.kill()
    first.wait()
    serve("second")
    assert caller.ask({}, 0) == ("plan", b"second")


def test_killed_server_ends_the_wait_of_whoever_is_asking(path: Path, caller: NearCaller) -> None:
    asked = threading.Event()
    command = [sys.executable, "-c", _SERVE.replace("sys.argv[2].encode()", "time.sleep(600)"), str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        process.stdout.readline()

        def ask() -> None:
            asked.set()
            caller.ask({}, 0)

        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(ask)
            asked.wait()
            process.kill()
            with pytest.raises(ConnectionError):
                waiting.result(timeout=30)
    finally:
        end(process)


def test_late_answer_is_nobody_elses(path: Path) -> None:
    hold = threading.Event()

    def answer(asked: Mapping[str, Any], at_least: int) -> Reply:
        if asked["k"] == 0:
            hold.wait(30)
        return echo(asked, at_least)

    NearServer(path, answer)
    caller = NearCaller(path, timeout_s=0.2)
    with pytest.raises(TimeoutError):
        caller.ask({"k": 0}, 0)
    hold.set()
    patient = NearCaller(path, timeout_s=30.0)
    for asking in (patient, caller):
        reply = asking.ask({"k": 1}, 0)
        assert reply is not None
        assert json.loads(reply[1]) == [{"k": 1}, 0]


def test_error_of_the_answer_ends_that_connection_and_no_other(path: Path) -> None:
    def answer(asked: Mapping[str, Any], at_least: int) -> Reply:
        if asked:
            raise RuntimeError("a fault")
        return echo(asked, at_least)

    NearServer(path, answer)
    unlucky, other = NearCaller(path, timeout_s=30.0), NearCaller(path, timeout_s=30.0)
    assert other.ask({}, 0) is not None
    with pytest.raises(ConnectionError):
        unlucky.ask({"k": 1}, 0)
    assert other.ask({}, 0) is not None
    assert unlucky.ask({}, 0) is not None


@pytest.mark.parametrize(
    "sent", [b"GET / HTTP/1.1\r\n\r\n", struct.pack("!Q", 2**40), struct.pack("!Q", 3) + b"{,}", b"\0" * 5]
)
def test_whoever_speaks_otherwise_is_dropped_and_harms_nobody(
    path: Path, caller: NearCaller, sent: bytes
) -> None:
    NearServer(path, echo)
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(str(path))
        stranger.sendall(sent)
        stranger.shutdown(socket.SHUT_WR)
        stranger.settimeout(30)
        assert stranger.recv(100) == b""
    assert caller.ask({}, 0) is not None


def test_socket_and_its_folder_are_open_to_their_user_alone(path: Path) -> None:
    NearServer(path, echo)
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o600


def test_folder_that_others_can_use_is_not_trusted(tmp_path_factory: pytest.TempPathFactory) -> None:
    open_to_all = Path("/tmp") / f"ft-{uuid.uuid4().hex[:8]}"
    open_to_all.mkdir()
    try:
        open_to_all.chmod(0o755)
        assert NearServer.start(open_to_all / "a.sock", echo) is None
        open_to_all.chmod(0o700)
        assert NearServer.start(open_to_all / "a.sock", echo) is not None
        assert NearCaller(open_to_all / "a.sock", timeout_s=5.0).ask({}, 0) is not None
        open_to_all.chmod(0o755)
        assert NearCaller(open_to_all / "a.sock", timeout_s=5.0).ask({}, 0) is None
    finally:
        for left in open_to_all.iterdir():
            left.unlink()
        open_to_all.rmdir()


def test_sockets_of_processes_that_are_gone_are_cleared_and_no_others(
    path: Path, serve: Callable[[str], "subprocess.Popen[str]"]
) -> None:
    serve("alive")
    gone = socket_path(f"test {uuid.uuid4()}")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(gone))
    another = socket_path(f"test {uuid.uuid4()}")
    NearServer(another, echo)
    assert not gone.exists()
    assert path.exists()
    another.unlink()
