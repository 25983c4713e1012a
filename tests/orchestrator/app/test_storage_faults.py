"""Disks that fill up, lie or go, clocks that jump, drivers that come twice.

Each ends in one clear sentence and touches nothing; once the cause is gone, resume finishes the sweep, and it
holds what an uninterrupted one holds.
"""

import errno
import gc
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

import pytest
import yaml

from orchestrator.app.logs import driver_log
from orchestrator.app.plan import plan_sweep
from orchestrator.app.roots import claim, planned_trials
from orchestrator.app.spec import load_spec
from orchestrator.cli.main import main
from orchestrator.contracts import InputError, Lease, Outcome, Trial
from orchestrator.metadataset.errors import CommitUnknownError, StorageError
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.ledger import Ledger
from orchestrator.metadataset.lock import is_held
from orchestrator.metadataset.reader import MetaDatasetReader
from orchestrator.metadataset.verify import compare, verify
from tests.orchestrator.app.test_driver import CrashError, a_plan, assert_exact, drive
from tests.support.control import RecordingControl
from tests.support.disk import Disk, small_disk
from tests.support.pool import SimulatedPool
from workers.rehearsal import RehearsalTrainer

SPEC = {
    "name": "small",
    "base_model": "rehearsal:0.3",
    "tasks": ["worlds:towns"],
    "configs": 8,
    "epochs": 4,
    "workers": {"max_count": 2},
}
TRIALS = 8
DISK_BYTES = 2 * 2**20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with small_disk(tmp_path / "small disk", DISK_BYTES) as disk:
        if disk is None:
            pytest.skip("neither this user nor a user namespace may mount a tmpfs here")
        yield disk


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("spec") / "small.yaml"
    path.write_text(yaml.safe_dump(SPEC))
    return path


@pytest.fixture(scope="module")
def odd_root(spec: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep that was left in peace, but for a second driver, under a name that shells dislike."""
    root = tmp_path_factory.mktemp("odd") / 'it\'s a "root" of $HOME; `all` \\ ünder'
    with foretune("run", spec, "--root", root) as first:
        wait_until(lambda: is_held(RootLayout(root).lock_file), first)
        second = ended("resume", root)
        assert second.returncode == 2
        assert "is being written by process" in sentence(second)
        assert str(root) in sentence(second)
        out, err = first.communicate(timeout=100)
    assert first.returncode == 0, out + err
    assert f"Results lie in {root}" in out
    return root


def foretune(*arguments: str | Path, disk: Disk | None = None) -> "subprocess.Popen[str]":
    command: list[str | Path] = [sys.executable, "-m", "orchestrator.cli", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(disk.entered(command) if disk else command, stdout=pipe, stderr=pipe, text=True)


def ended(*arguments: str | Path, disk: Disk | None = None) -> "subprocess.CompletedProcess[str]":
    with foretune(*arguments, disk=disk) as process:
        out, err = process.communicate(timeout=100)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def sentence(done: "subprocess.CompletedProcess[str]") -> str:
    """All that a failed command said on standard error, which must be one sentence."""
    text = done.stderr.strip()
    assert text.startswith("foretune: "), done.stdout + done.stderr
    assert "\n" not in text, done.stdout + done.stderr
    return text


def points(root: Path) -> int:
    return len(MetaDatasetReader(root).curves(columns=["epoch"]))


def wait_until(condition: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    until = time.monotonic() + 90
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)


def assert_same_as(root: Path, quiet: Path) -> None:
    for certificate in (verify(root, planned=planned_trials(root)), compare(root, quiet)):
        assert certificate.ok, certificate.render()
    trials = MetaDatasetReader(root).trials()
    assert list(trials["outcome"]) == ["completed"] * TRIALS
    assert not MetaDatasetReader(root).unpublished_rows()


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_root_with_spaces_and_quotes_in_its_path_is_like_any_other(odd_root: Path) -> None:
    assert_same_as(odd_root, odd_root)
    for command in (("verify", odd_root), ("resume", odd_root)):
        done = ended(*command)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stderr == ""


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_disk_that_fills_up_or_turns_read_only_stops_a_sweep_and_costs_it_nothing(
    spec: Path, disk: Disk, odd_root: Path
) -> None:
    inside, outside = disk.inside / "root", disk.outside / "root"
    with foretune("run", spec, "--root", inside, disk=disk) as process:
        wait_until(lambda: points(outside) > 0, process)
        disk.fill()
        out, err = process.communicate(timeout=100)
    stopped = subprocess.CompletedProcess(process.args, process.returncode, out, err)
    assert stopped.returncode == 3, out + err
    assert "can't be written: No space left on device; rows acknowledged before are safe" in sentence(stopped)
    shown = points(outside)
    assert 0 < shown < TRIALS * 4
    disk.fill()
    still_full = ended("resume", inside, disk=disk)
    assert still_full.returncode in (2, 3)
    assert "No space left on device" in sentence(still_full)
    disk.set_writable(False)
    for command in (("resume", inside), ("run", spec, "--root", disk.inside / "new")):
        read_only = ended(*command, disk=disk)
        assert read_only.returncode == 2
        assert "can't be written: Read-only file system" in sentence(read_only)
    assert ended("status", inside, disk=disk).returncode == 0
    disk.set_writable(True)
    disk.make_room()
    assert points(outside) == shown
    resumed = ended("resume", inside, disk=disk)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert_same_as(outside, odd_root)


def test_checkpoint_that_finds_the_disk_full_is_no_result_of_its_trial(disk: Disk, spec: Path) -> None:
    trial = plan_sweep(load_spec(spec)).trials[0]
    lease = Lease(trial=trial, attempt=0, run_until_epoch=4, committed_epochs=0, keep_adapter=False)
    root = disk.outside / "root"
    root.mkdir()
    disk.fill()
    full = RecordingControl()
    RehearsalTrainer(root).train([lease], full)
    assert full.ended.outcome is Outcome.LOST
    assert "No space left on device" in (full.ended.error or "")
    disk.make_room()
    again = RecordingControl()
    RehearsalTrainer(root).train([replace(lease, attempt=1)], again)
    assert again.ended.outcome is Outcome.COMPLETED
    assert [point.epoch for point in again.points] == [1, 2, 3, 4]


def test_lock_that_can_not_be_signed_on_a_full_disk_is_let_go_of(disk: Disk) -> None:
    layout = RootLayout(disk.outside / "root")
    layout.ledger_dir.mkdir(parents=True)
    disk.fill()
    for _ in range(2):
        with pytest.raises(InputError, match="root can't be written: No space left on device"):
            Ledger.open(layout.root)
        gc.collect()
        assert not is_held(layout.lock_file)
    disk.make_room()
    Ledger.open(layout.root).close()


def test_driver_log_on_a_full_disk_is_told_once_and_hides_no_other_error(
    disk: Disk, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    layout = RootLayout(disk.outside / "root")
    layout.logs_dir.mkdir(parents=True)
    disk.fill()

    def run_and_crash() -> None:
        with driver_log(layout):
            for _ in range(3):
                logging.getLogger("orchestrator").info("no room for this")
            raise CrashError

    with pytest.raises(CrashError):
        run_and_crash()
    assert capfd.readouterr().err == ""
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(told) == 1
    assert told[0].startswith(f"driver log not written path={layout.driver_log}")


class Simulated:
    """A root of its own spec, with simulated workers, interrupted in the middle."""

    def __init__(self, root: Path, spec: Path) -> None:
        self.root = root
        loaded = load_spec(spec)
        plan = plan_sweep(loaded)
        self.trials: list[Trial] = list(plan.trials)
        claim(root, loaded, plan.trials, plan.space.to_json())
        self._pool = SimulatedPool(2)

    def interrupt(self, rounds: int) -> None:
        left = rounds

        def count_down() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise CrashError

        with pytest.raises(CrashError):
            drive(self.root, self.trials, self._pool, on_round=count_down)

    def finish(self) -> None:
        last = SimulatedPool(2)
        last._checkpoints = self._pool._checkpoints
        assert drive(self.root, self.trials, last)
        assert_exact(self.root, self.trials)


@pytest.fixture
def simulated(tmp_path: Path, spec: Path, monkeypatch: pytest.MonkeyPatch) -> Simulated:
    """Twice interrupted: part 0 is sealed, part 1 is the newest and holds all of its log."""
    sweep = Simulated(tmp_path / "root", spec)
    with monkeypatch.context() as patched:
        # Parts are sealed at 2 MiB, which no sweep of seconds has.
        patched.setattr("orchestrator.metadataset.ledger.SEAL_PART_BYTES", 1)
        sweep.interrupt(4)
        Ledger.open(sweep.root).close()
    sweep.interrupt(4)
    Ledger.open(sweep.root).close()
    layout = RootLayout(sweep.root)
    newest = max(layout.segments())
    assert newest > 0
    assert newest in layout.parts("curves")
    return sweep


def refused(root: Path, capsys: pytest.CaptureFixture[str], *, code: int = 2) -> str:
    """What the command line says when it is asked to resume, changing no file."""
    before = contents(root)
    assert main(["resume", str(root)]) == code
    assert contents(root) == before
    text = capsys.readouterr().err.strip()
    assert text.startswith("foretune: ")
    assert "\n" not in text
    return text


def contents(root: Path) -> dict[Path, bytes]:
    lock = RootLayout(root).lock_file
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and path != lock}


def flip_in_the_middle(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x01
    path.write_bytes(bytes(content))


def test_truncated_segment_is_told_and_put_back_goes_on(
    simulated: Simulated, capsys: pytest.CaptureFixture[str]
) -> None:
    (segment,) = RootLayout(simulated.root).segments().values()
    whole = segment.read_bytes()
    segment.write_bytes(whole[: len(whole) // 2])
    said = refused(simulated.root, capsys)
    assert "the log lacks rows that were on disk; restore the file from a copy" in said
    segment.write_bytes(b"")
    assert f"{segment}: its header is damaged; restore the file from a copy" in refused(
        simulated.root, capsys
    )
    segment.write_bytes(whole)
    simulated.finish()


@pytest.mark.parametrize("table", ["curves", "trials", "attempts"])
def test_sealed_part_with_a_flipped_byte_is_told_by_name_and_put_back_goes_on(
    simulated: Simulated, capsys: pytest.CaptureFixture[str], table: str
) -> None:
    part = RootLayout(simulated.root).parts(table)[0]
    whole = part.read_bytes()
    flip_in_the_middle(part)
    said = refused(simulated.root, capsys)
    assert f"{part}: it can't be read as Parquet" in said
    assert "restore the file from a copy" in said
    assert main(["verify", str(simulated.root)]) == 1
    assert part.name in capsys.readouterr().out
    part.write_bytes(whole)
    simulated.finish()


def test_newest_part_with_a_flipped_byte_is_told_to_readers_and_made_anew_by_the_next_driver(
    simulated: Simulated, capsys: pytest.CaptureFixture[str]
) -> None:
    part = max(RootLayout(simulated.root).parts("curves").items())[1]
    flip_in_the_middle(part)
    assert main(["status", str(simulated.root)]) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith(f"foretune: {part}: it can't be read as Parquet")
    assert "restore the file from a copy" in said
    simulated.finish()


def test_second_driver_is_refused_and_the_first_goes_on(
    simulated: Simulated, capsys: pytest.CaptureFixture[str]
) -> None:
    tried: list[str] = []

    def come_twice() -> None:
        if not tried:
            tried.append("once")
            assert main(["resume", str(simulated.root)]) == 2
            tried.append(capsys.readouterr().err.strip())

    assert drive(simulated.root, simulated.trials, SimulatedPool(2), on_round=come_twice)
    assert tried[1].startswith(f"foretune: {simulated.root} is being written by process ")
    assert "stop that driver first, or wait until it ends" in tried[1]
    assert_exact(simulated.root, simulated.trials)


class JumpingClock(datetime):
    """The wall clock, set back by an hour at every other look."""

    looks = 0

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        cls.looks += 1
        return datetime.now(tz) - timedelta(hours=cls.looks % 2)


def test_wall_clock_set_back_changes_what_is_for_people_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = a_plan()
    assert drive(tmp_path / "steady", plan, SimulatedPool(2))
    for name, module in list(sys.modules.items()):
        if name.startswith("orchestrator.") and getattr(module, "datetime", None) is datetime:
            monkeypatch.setattr(module, "datetime", JumpingClock)
    real_time = time.time
    monkeypatch.setattr(time, "time", lambda: real_time() - 3600 * (JumpingClock.looks % 2))
    killed = SimulatedPool(2)

    def kill_once() -> None:
        if killed.workers[0] == "sim-0" and points(tmp_path / "jumping") > 2:
            killed.kill(killed.workers[0])

    assert drive(tmp_path / "jumping", plan, killed, on_round=kill_once)
    assert_exact(tmp_path / "jumping", plan)
    certificate = compare(tmp_path / "jumping", tmp_path / "steady")
    assert certificate.ok, certificate.render()
    at = list(MetaDatasetReader(tmp_path / "jumping").attempts()["at"])
    assert at != sorted(at)
    assert JumpingClock.looks > len(plan)


@pytest.mark.parametrize("call", [3, 10, 17])
@pytest.mark.parametrize(("name", "number"), [("write", errno.ENOSPC), ("fsync", errno.EIO)])
def test_system_call_refused_in_a_round_ends_the_driver_and_resume_finishes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, number: int, call: int
) -> None:
    plan, pool = a_plan(), SimulatedPool(2)
    real: Callable[..., object] = getattr(os, name)
    left = call

    def refuse(*arguments: object) -> object:
        nonlocal left
        left -= 1
        if left <= 0:
            raise OSError(number, os.strerror(number))
        return real(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(os, name, refuse)
        with pytest.raises((StorageError, CommitUnknownError), match="remove the cause, then resume"):
            drive(tmp_path, plan, pool)
    last = SimulatedPool(2)
    last._checkpoints = pool._checkpoints
    assert drive(tmp_path, plan, last)
    assert_exact(tmp_path, plan)


@pytest.mark.parametrize(
    "error",
    [StorageError("ROOT/_ledger/wal", "No space left on device"), CommitUnknownError("ROOT/_ledger", "EIO")],
)
def test_error_of_storage_from_the_driver_ends_the_command_in_one_sentence(
    simulated: Simulated,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: StorageError | CommitUnknownError,
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise error

    monkeypatch.setattr("orchestrator.app.sweep.run_sweep", fail)
    said = refused(simulated.root, capsys, code=3)
    assert said == f"foretune: {error}"
    assert "rows acknowledged before are safe: remove the cause, then resume" in said
    simulated.finish()
