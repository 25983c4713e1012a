import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.contracts import RootInUseError
from orchestrator.metadataset.lock import RootLock, is_held

HOLD = """
import sys, time, os
from pathlib import Path
from orchestrator.metadataset.lock import RootLock
lock = RootLock(Path(sys.argv[1]), Path("root"))
if sys.argv[2] == "fork" and os.fork() == 0:
    os.close(1)
    sys.stdin.read()
    os._exit(0)
print("held", flush=True)
sys.stdin.read()
"""


def holder(path: Path, how: str = "alone") -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", HOLD, str(path), how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        assert stream is not None
        stream.close()


def test_second_writer_is_refused_by_name_until_the_first_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_held(path)
    lock = RootLock(path, tmp_path)
    assert is_held(path)
    with pytest.raises(RootInUseError, match=f"{tmp_path} is being written by process {os.getpid()} on "):
        RootLock(path, tmp_path)
    lock.release()
    lock.release()
    assert not is_held(path)
    RootLock(path, tmp_path).release()


def test_lock_of_another_process_holds_and_dies_with_it(tmp_path: Path) -> None:
    process = holder(tmp_path / "lock")
    with pytest.raises(RootInUseError, match=f"process {process.pid} on "):
        RootLock(tmp_path / "lock", tmp_path)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    RootLock(tmp_path / "lock", tmp_path).release()
    end(process)


def test_lock_does_not_live_on_in_a_child_forked_before_the_writer_was_killed(tmp_path: Path) -> None:
    process = holder(tmp_path / "lock", "fork")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    RootLock(tmp_path / "lock", tmp_path).release()
    end(process)


def test_looking_whether_a_root_is_written_needs_no_right_to_write(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    RootLock(path, tmp_path).release()
    path.chmod(0o400)
    assert not is_held(path)
