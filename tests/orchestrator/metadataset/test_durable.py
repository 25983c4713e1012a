import errno
import os
from pathlib import Path

import pytest

from orchestrator.metadataset.durable import make_folder_durably, write_durably
from orchestrator.metadataset.layout import aside
from tests.orchestrator.metadataset.records import Crash, CrashAt


def steps_of_a_write(folder: Path) -> int:
    fault = CrashAt(None)
    write_durably(folder / "probe", b"x", fault=fault)
    return len(fault.seen)


def test_write_cut_at_any_step_leaves_the_old_content_or_the_new(tmp_path: Path) -> None:
    path = tmp_path / "file"
    seen = set()
    for step in range(steps_of_a_write(tmp_path)):
        write_durably(path, b"old")
        with pytest.raises(Crash):
            write_durably(path, b"new", fault=CrashAt(step))
        seen.add(path.read_bytes())
        write_durably(path, b"newer")
        assert path.read_bytes() == b"newer"
        assert not aside(path).exists()
    assert seen == {b"old", b"new"}


def test_write_the_system_refuses_keeps_the_old_content_and_leaves_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_durably(path, b"old")

    def refuse(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space left"):
        write_durably(path, b"new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"


def test_folders_are_made_once_however_often_asked_for(tmp_path: Path) -> None:
    fault = CrashAt(None)
    for _ in range(2):
        make_folder_durably(tmp_path / "a b" / "c'd", fault=fault)
    assert (tmp_path / "a b" / "c'd").is_dir()
    assert fault.seen.count("folder: before mkdir") == 2
