import os
import threading
import time
from pathlib import Path

import pytest

from orchestrator.app.roots import claim
from orchestrator.app.stopping import StopFile, request_stop, wait_until_idle
from orchestrator.contracts import InputError
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.ledger import Ledger
from tests.orchestrator.app.test_driver import a_plan
from tests.orchestrator.app.test_roots import a_spec


@pytest.fixture
def root(tmp_path: Path) -> Path:
    claim(tmp_path / "root", a_spec(), a_plan(), "{}")
    return tmp_path / "root"


def test_stop_is_not_asked_where_no_driver_is_at_work(root: Path) -> None:
    assert not request_stop(root)
    assert not RootLayout(root).stop_file.exists()


def test_stop_where_no_sweep_is_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        request_stop(tmp_path / "nowhere")


def test_driver_at_work_learns_that_it_is_to_stop_and_old_requests_do_not_count(root: Path) -> None:
    layout = RootLayout(root)
    layout.stop_file.touch()
    with Ledger.open(root):
        stop_file = StopFile(layout)
        assert not stop_file.is_there()
        assert request_stop(root)
        deadline_s = time.monotonic() + 10
        while not stop_file.is_there():
            assert time.monotonic() < deadline_s
        stop_file.remove()
    assert not layout.stop_file.exists()


def test_wait_ends_when_the_driver_has_let_go(root: Path) -> None:
    ledger = Ledger.open(root)
    assert not wait_until_idle(root, 0.0)
    threading.Timer(0.5, ledger.close).start()
    assert wait_until_idle(root, 30.0)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_root_that_can_not_be_written_is_refused_with_another_way(root: Path) -> None:
    with Ledger.open(root):
        RootLayout(root).ledger_dir.chmod(0o500)
        try:
            with pytest.raises(InputError, match="send the driver SIGTERM instead"):
                request_stop(root)
        finally:
            RootLayout(root).ledger_dir.chmod(0o700)
