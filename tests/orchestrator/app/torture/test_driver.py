import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.processes import members
from cluster.warden import Warden
from orchestrator.app.torture.driver import DriverProcess


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[DriverProcess]:
    """Yield a driver whose spec is not there."""
    (tmp_path / "watched").mkdir()
    warden = Warden(tmp_path / "watched")
    with DriverProcess(
        tmp_path / "no.yaml",
        tmp_path / "root",
        logs=tmp_path,
        warden=warden,
        address=None,
        environment=os.environ,
    ) as process:
        yield process
    warden.close()


def test_a_driver_that_ends_by_itself_tells_how_and_the_next_one_resumes(driver: DriverProcess) -> None:
    driver.start()
    end = driver.wait()
    assert end.exit_code == 2
    assert "no sweep spec at" in end.tail
    assert not driver.kill()
    with pytest.raises(ValueError, match="has no end of its own"):
        driver.take_end()
    driver.start()
    assert "root does not exist" in driver.wait().tail
    assert driver.started == 2


def test_a_driver_that_is_killed_has_no_end_of_its_own(driver: DriverProcess) -> None:
    driver.start()
    with pytest.raises(ValueError, match="has not ended"):
        driver.start()
    assert driver.is_alive()
    assert driver.kill()
    assert not driver.is_alive()
    assert not driver.kill()
    with pytest.raises(ValueError, match="was killed"):
        driver.take_end()


def test_leaving_ends_a_driver_at_work(tmp_path: Path) -> None:
    warden = Warden(tmp_path / "watched")
    with DriverProcess(
        tmp_path / "no.yaml", tmp_path, logs=tmp_path, warden=warden, address=None, environment=os.environ
    ) as driver:
        before = {process.pid for process in members([os.getsid(0)])}
        driver.start()
        (pid,) = {process.pid for process in members([os.getsid(0)])} - before
    assert not members([pid])
    warden.close()
