import errno
import fcntl
import itertools
import os
from pathlib import Path

import pytest

from cluster.doctor import Status
from cluster.doctor.kernel import Kernel, Mount
from orchestrator.app.doctor.storage import file_system, ledger_steps, root_found
from tests.support.disk import small_disk


def test_real_folder_does_all_the_ledger_needs_and_is_left_as_it_was(tmp_path: Path) -> None:
    found = ledger_steps(tmp_path)
    assert found.status is not Status.FAILED
    assert "writes, renames and locks; an fsync takes" in found.found
    assert list(tmp_path.iterdir()) == []


def test_root_that_is_not_there_is_tried_where_it_would_be_and_not_made(tmp_path: Path) -> None:
    findings = root_found(tmp_path / "runs" / "sweep", Kernel())
    assert [finding.name for finding in findings] == ["root", "root's file system", "root's disk"]
    assert all(finding.status is not Status.FAILED for finding in findings)
    assert list(tmp_path.iterdir()) == []


def test_root_that_is_a_file_or_is_not_named_is_not_tried(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert root_found(tmp_path / "file", Kernel())[0].status is Status.FAILED
    assert root_found(None, Kernel())[0].status is Status.NOT_CHECKED


def test_read_only_and_full_disks_fail_with_the_step_that_did(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 2**20) as small:
        if small is None:
            pytest.skip("no one may mount here")
        small.set_writable(False)
        read_only = ledger_steps(small.outside)
        small.set_writable(True)
        small.fill()
        full = ledger_steps(small.outside)
    assert read_only.status is full.status is Status.FAILED
    assert "can't make a folder: Read-only file system" in read_only.found
    assert "No space left" in full.found
    assert "flock" in (full.advice or "")


def refuse(*_arguments: object) -> None:
    raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))


@pytest.mark.parametrize(
    ("module", "call", "step"),
    [(os, "fsync", "fsync"), (os, "replace", "replace a file by a rename"), (fcntl, "flock", "lock")],
)
def test_step_that_a_file_system_does_not_know_is_named(
    module: object, call: str, step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(module, call, refuse)
        found = ledger_steps(tmp_path)
    assert found.status is Status.FAILED
    assert f"can't {step}: Operation not supported" in found.found
    assert list(tmp_path.iterdir()) == []


def test_file_system_on_which_two_get_the_lock_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    found = ledger_steps(tmp_path)
    assert found.status is Status.FAILED
    assert "two have the lock at once" in found.found


def test_slow_fsync_is_measured_and_warned_of(tmp_path: Path) -> None:
    ticks = itertools.count(step=0.25)
    found = ledger_steps(tmp_path, clock=lambda: float(next(ticks)))
    assert found.status is Status.WARNING
    assert "an fsync takes 250.0 ms" in found.found


@pytest.mark.parametrize(
    ("kind", "options", "status", "said"),
    [
        ("ext4", "rw", Status.OK, "this machine's own"),
        ("nfs4", "rw,local_lock=none", Status.OK, "on the network"),
        ("nfs", "rw,local_lock=flock", Status.WARNING, "mounted local_lock=flock"),
        ("lustre", "rw,flock", Status.OK, "on the network"),
        ("lustre", "rw,localflock", Status.WARNING, "mounted localflock"),
        ("tmpfs", "rw", Status.WARNING, "in memory"),
        ("overlay", "rw", Status.WARNING, "the container's own layer"),
        ("fuse.s3fs", "rw", Status.WARNING, "a program's"),
    ],
)
def test_file_system_is_judged_by_what_it_outlives_and_whom_it_locks_out(
    kind: str, options: str, status: Status, said: str
) -> None:
    mount = Mount(Path("/shared"), kind, frozenset(options.split(",")))
    found = file_system(mount, Path("/shared/sweep"))
    assert found.status is status
    assert said in found.found
