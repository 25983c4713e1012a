import subprocess
import sys

import psutil
import pytest

from benchmarks.process_tree import ProcessTree

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux")

BURN = """
import time
block = bytearray({mebibytes} * 2**20)
while time.process_time() < {cpu_s}:
    pass
time.sleep({linger_s})
"""


def start(code: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", code])


def starting(code: str, *, daemonised: bool) -> str:
    """Return code that starts other code, and ends at once if that is to be a daemon."""
    wait = "" if daemonised else ".wait()"
    return (
        "import subprocess, sys; "
        f"subprocess.Popen([sys.executable, '-c', {code!r}], start_new_session={daemonised}){wait}"
    )


@pytest.mark.parametrize("daemonised", [False, True])
def test_cpu_time_of_descendants_that_ended_is_counted(daemonised: bool) -> None:
    code = BURN.format(mebibytes=1, cpu_s=0.8, linger_s=0.2)
    process = start(starting(code, daemonised=daemonised))
    with ProcessTree(process.pid, interval_s=0.05) as tree:
        process.wait()
        assert tree.wait_until_gone(20)
    assert tree.processes == 2
    assert 0.7 <= tree.cpu_s <= 1.6


def test_peak_memory_is_that_of_processes_that_lived_at_once() -> None:
    code = BURN.format(mebibytes=100, cpu_s=0.1, linger_s=1.0)
    process = start(f"block = bytearray(60 * 2**20); {starting(code, daemonised=False)}")
    with ProcessTree(process.pid, interval_s=0.05) as tree:
        process.wait()
    assert 160 * 2**20 <= tree.peak_bytes <= 260 * 2**20
    assert 60 * 2**20 <= tree.driver_peak_bytes <= 120 * 2**20


def test_processes_started_before_the_tree_are_not_counted() -> None:
    other = start(BURN.format(mebibytes=1, cpu_s=60, linger_s=0))
    try:
        process = start(BURN.format(mebibytes=1, cpu_s=0.1, linger_s=0.3))
        with ProcessTree(process.pid, interval_s=0.05) as tree:
            process.wait()
        assert tree.processes == 1
        assert tree.cpu_s < 0.6
    finally:
        other.kill()
        other.wait()


def test_waiting_ends_where_a_process_stays() -> None:
    process = start(BURN.format(mebibytes=1, cpu_s=0, linger_s=60))
    with ProcessTree(process.pid, interval_s=0.05) as tree:
        assert not tree.wait_until_gone(0.2)
        psutil.Process(process.pid).kill()
        assert tree.wait_until_gone(10)
    process.wait()
