"""The meta-dataset that ships is learned from in a copy, which is whole and follows what ships."""

import threading
from pathlib import Path

import pytest

from orchestrator.app.shipped import is_shipped, shipped_root
from orchestrator.contracts import InputError


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORETUNE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "package" / "some-sweep"
    (folder / "curves").mkdir(parents=True)
    (folder / "sweep.yaml").write_text("name: some-sweep\n")
    (folder / "curves" / "part-0.parquet").write_bytes(b"rows")
    return folder


def test_the_copy_holds_what_ships_and_is_made_once(source: Path) -> None:
    copy = shipped_root(source)
    assert is_shipped(copy)
    assert not is_shipped(source)
    assert (copy / "curves" / "part-0.parquet").read_bytes() == b"rows"
    (copy / ".surrogate").mkdir()
    assert shipped_root(source) == copy
    assert (copy / ".surrogate").is_dir()


def test_another_release_gets_a_copy_of_its_own(source: Path) -> None:
    before = shipped_root(source)
    (source / "curves" / "part-0.parquet").write_bytes(b"more rows")
    assert shipped_root(source) != before


def test_many_processes_at_once_get_one_whole_copy(source: Path) -> None:
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(shipped_root(source))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert [path.name for path in found[0].parent.iterdir()] == [found[0].name]


def test_a_copy_that_was_cut_short_is_not_taken_for_one(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(_source: Path, target: Path) -> None:
        target.mkdir(parents=True)
        (target / "sweep.yaml").touch()
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("shutil.copytree", full_disk)
        with pytest.raises(InputError, match="No space left on device"):
            shipped_root(source)
    assert (shipped_root(source) / "curves").is_dir()


def test_a_package_without_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="came without it; name a sweep with --root"):
        shipped_root(tmp_path / "nothing")
