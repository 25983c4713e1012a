import os
import subprocess
import sys
import time
from collections.abc import Callable

from cluster.processes import Process, end_sessions, kill_process, members, process_of, title_of

_SLEEPER = "import time; time.sleep(60)"
_WANDERER = f"""
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "{_SLEEPER}"], start_new_session=True)
time.sleep(60)
"""


def _spawn(code: str, *, session: bool) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", code], start_new_session=session)


def _wait(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_a_child_that_left_for_a_session_of_its_own_is_ended_and_strangers_are_not() -> None:
    stranger, leader = _spawn(_SLEEPER, session=True), _spawn(_WANDERER, session=True)
    try:
        _wait(lambda: len(members([leader.pid])) == 2)
        wanderer = max(members([leader.pid]), key=lambda process: process.pid)
        assert wanderer.session != leader.pid
        assert end_sessions([leader.pid]) == []
        assert members([leader.pid]) == []
        left = process_of(wanderer.pid)
        assert left is None or not left.is_alive
        assert stranger.poll() is None
    finally:
        for process in (stranger, leader):
            process.kill()
            process.wait()


def test_a_number_that_means_another_process_by_now_is_not_hit() -> None:
    sleeper = _spawn(_SLEEPER, session=True)
    try:
        found = process_of(sleeper.pid)
        assert found is not None
        assert not kill_process(Process(found.pid, found.parent, found.session + 1, found.state))
        assert sleeper.poll() is None
        assert kill_process(found)
        assert sleeper.wait(20) == -9
        assert not kill_process(found)
    finally:
        sleeper.kill()
        sleeper.wait()


def test_own_line_of_the_process_table_is_read_right() -> None:
    mine = process_of(os.getpid())
    assert mine is not None
    assert (mine.parent, mine.session, mine.is_alive) == (os.getppid(), os.getsid(0), True)
    assert title_of(os.getpid())
    assert process_of(2**22 + 1) is None
    assert title_of(2**22 + 1) == ""
