"""The process dies at every step that writes; what was acknowledged stands, once."""

import itertools
import multiprocessing
import os
import shutil
import signal
from pathlib import Path

import pytest

from orchestrator.contracts import METRIC_COLUMNS, CorruptLedgerError, Trial
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.ledger import Ledger
from orchestrator.metadataset.reader import MetaDatasetReader
from orchestrator.metadataset.schema import Table
from orchestrator.metadataset.segments import read_segment
from orchestrator.metadataset.verify import compare, verify
from tests.orchestrator.metadataset.records import (
    WORKER,
    Crash,
    CrashAt,
    Sweep,
    a_point,
    a_trial,
    keys,
)

pytestmark = pytest.mark.usefixtures("without_fsync")

TRIALS = [a_trial(index, epochs=2) for index in range(3)]
IDS = [trial.trial_id for trial in TRIALS]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same sweep, never interrupted."""
    root = tmp_path_factory.mktemp("whole") / "root"
    Sweep(root, TRIALS).run(CrashAt(None))
    return root


def steps_of_a_sweep(root: Path) -> list[str]:
    fault = CrashAt(None)
    Sweep(root, TRIALS).run(fault)
    return fault.seen


def check_what_stands(sweep: Sweep) -> None:
    """Nothing acknowledged is lost, nothing is doubled, and nothing is there that was not at least sent."""
    stands = keys(sweep.root)
    assert len(stands) == len(set(stands))
    assert sweep.acknowledged <= set(stands) <= sweep.acknowledged | sweep.in_flight
    finished = [trial_id for trial_id, _ in keys(sweep.root, Table.TRIALS)]
    assert len(finished) == len(set(finished))
    assert sweep.outcomes <= set(finished)


def check_completion(sweep: Sweep, whole: Path, *, certify: bool = True) -> None:
    """Resumed to its end, the sweep holds what one that was never interrupted holds."""
    sweep.run(CrashAt(None))
    assert metrics(sweep.root) == metrics(whole)
    finished, expected = (sorted(str(key[0]) for key in keys(r, Table.TRIALS)) for r in (sweep.root, whole))
    assert finished == expected
    if not certify:
        return
    for certificate in (
        verify(sweep.root, planned={t.trial_id: t.max_epochs for t in TRIALS}),
        compare(sweep.root, whole),
    ):
        assert certificate.ok, certificate.render()


def metrics(root: Path) -> list[tuple[object, ...]]:
    """All that depends on the trials alone, in an order of its own."""
    curves = MetaDatasetReader(root).curves(columns=["trial_id", "epoch", *METRIC_COLUMNS])
    return sorted(curves.itertuples(index=False, name=None))


def test_sweep_visits_every_kind_of_step(tmp_path: Path) -> None:
    kinds = {step.split(":")[0] for step in steps_of_a_sweep(tmp_path / "root")}
    parts = {f"{table} part" for table in Table}
    assert kinds == {"folder", "segment", "commit", "sealed segment", *parts}


def test_sweep_killed_at_any_step_loses_nothing_and_ends_like_one_never_killed(
    tmp_path: Path, whole: Path
) -> None:
    steps = steps_of_a_sweep(tmp_path / "probe")
    for step in range(len(steps)):
        sweep = Sweep(tmp_path / str(step), TRIALS)
        with pytest.raises(Crash, match=steps[step]):
            sweep.run(CrashAt(step))
        Ledger.open(sweep.root).close()
        check_what_stands(sweep)
        check_completion(sweep, whole, certify=step % 10 == 0)
        shutil.rmtree(sweep.root)


def test_sweep_killed_again_and_again_while_it_recovers_loses_nothing(tmp_path: Path, whole: Path) -> None:
    """Die at a step, then in each recovery after one step more than in the last, until a recovery ends."""
    steps = steps_of_a_sweep(tmp_path / "probe")
    deaths = 0
    for step in range(2, len(steps), 13):
        sweep = Sweep(tmp_path / str(step), TRIALS)
        with pytest.raises(Crash):
            sweep.run(CrashAt(step))
        for recovered in itertools.count():
            try:
                Ledger.open(sweep.root, fault=CrashAt(recovered)).close()
                break
            except Crash:
                deaths += 1
        assert deaths >= recovered
        check_what_stands(sweep)
        check_completion(sweep, whole, certify=False)
        shutil.rmtree(sweep.root)
    assert deaths > len(steps) / 13


def left_by_the_worst_crash(root: Path) -> Sweep:
    """A sealed segment stands, its successor holds an unpublished and a torn commit, a part lies aside."""
    sweep = Sweep(root, TRIALS, seal_rows=10**6)
    with pytest.raises(Crash):
        sweep.run(CrashAt(60))
    layout = RootLayout(root)
    kept = layout.segment(0).read_bytes()
    ledger = Ledger.open(root, seal_rows=1)
    attempt = ledger.grant(IDS[2], WORKER)
    ledger.record_point(a_point(TRIALS[2], ledger.progress(IDS[2]).epochs + 1, attempt))
    ledger.commit()
    ledger.__exit__(Crash, None, None)
    layout.segment(0).write_bytes(kept)
    with layout.segment(1).open("ab") as segment:
        segment.write(b"\xf7FT\xfe torn")
    layout.part_aside("curves", 0).write_bytes(b"half")
    return sweep


def test_recovery_can_be_cut_at_each_of_its_steps(tmp_path: Path, whole: Path) -> None:
    sweep = left_by_the_worst_crash(tmp_path / "root")
    before = keys(sweep.root)
    assert before
    probe = tmp_path / "copy"
    shutil.copytree(sweep.root, probe)
    fault = CrashAt(None)
    Ledger.open(probe, fault=fault).close()
    kinds = {step.split(":")[0] for step in fault.seen}
    assert kinds == {"leftover", "recovery", "sealed segment", "attempts part", "curves part"}
    for step in range(len(fault.seen)):
        shutil.rmtree(probe)
        shutil.copytree(sweep.root, probe)
        with pytest.raises(Crash):
            Ledger.open(probe, fault=CrashAt(step))
        Ledger.open(probe).close()
        assert keys(probe)[:-1] == before
        assert verify(probe).ok
    sweep.root = probe
    check_completion(sweep, whole)


def segment_with_commits(root: Path) -> tuple[Path, list[int]]:
    """Three commits, none of them published; where each of them ends in the segment."""
    path = RootLayout(root).segment(0)
    ledger = Ledger.open(root)
    ends = [path.stat().st_size]
    ledger.grant(TRIALS[0].trial_id, WORKER)
    for epoch in (1, 2, 3):
        ledger.record_point(a_point(TRIALS[0], epoch))
        ledger.commit()
        ends.append(path.stat().st_size)
    ledger.__exit__(Crash, None, None)
    return path, ends


def test_commit_torn_at_any_byte_never_was_and_those_before_it_stand(tmp_path: Path) -> None:
    path, ends = segment_with_commits(tmp_path)
    whole = path.read_bytes()
    parts = {
        part: part.read_bytes() for table in Table for part in RootLayout(tmp_path).parts(table).values()
    }
    for cut in range(ends[-2], ends[-1]):
        for tail in (b"", bytes(ends[-1] - cut), b"\xff" * 7):
            path.write_bytes(whole[:cut] + tail)
            content = read_segment(path, 0)
            assert (content.whole_bytes, len(content.rows)) == (ends[-2], 3)
            if cut % 8:
                continue
            for part, before in parts.items():
                part.write_bytes(before)
            with Ledger.open(tmp_path) as ledger:
                assert ledger.progress(TRIALS[0].trial_id).epochs == 2
            assert path.stat().st_size == ends[-2]
            assert keys(tmp_path) == [(TRIALS[0].trial_id, 1), (TRIALS[0].trial_id, 2)]


def test_opening_puts_on_disk_what_a_killed_process_may_have_left_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment_with_commits(tmp_path)
    synced: set[Path] = set()
    monkeypatch.setattr(os, "fsync", lambda handle: synced.add(Path(os.readlink(f"/proc/self/fd/{handle}"))))
    Ledger.open(tmp_path).close()
    layout = RootLayout(tmp_path)
    assert synced >= {layout.segment(0), layout.ledger_dir, *(layout.table_dir(table) for table in Table)}


def test_damage_before_the_last_commit_is_told_and_nothing_is_touched(tmp_path: Path) -> None:
    path, ends = segment_with_commits(tmp_path)
    whole = path.read_bytes()
    for at in (0, 5, 20, ends[0], ends[0] + 5, ends[1] + 30, ends[2] - 1):
        spoilt = bytearray(whole)
        spoilt[at] ^= 1
        path.write_bytes(bytes(spoilt))
        with pytest.raises(CorruptLedgerError, match="is damaged, but later ones are whole"):
            Ledger.open(tmp_path)
        assert path.read_bytes() == bytes(spoilt)
    path.write_bytes(whole)
    with Ledger.open(tmp_path) as ledger:
        assert ledger.progress(TRIALS[0].trial_id).epochs == 3


class KillAt:
    """A fault that kills the process for real, after so many steps."""

    def __init__(self, steps: int, how: str) -> None:
        self.left = steps
        self.how = how

    def __call__(self, point: str) -> None:
        self.left -= 1
        if self.left < 0:
            if self.how == "exit":
                os._exit(9)
            os.kill(os.getpid(), signal.SIGKILL)


class _Told(set[tuple[str, int]]):
    """Tells what is acknowledged to a file, at once."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def __ior__(self, keys: set[tuple[str, int]]) -> "_Told":  # type: ignore[override,misc]
        for trial_id, epoch in keys:
            os.write(self.handle, f"{trial_id} {epoch}\n".encode())
        return self


def sweep_and_die(root: Path, trials: list[Trial], told: Path, step: int, how: str) -> None:
    sweep = Sweep(root, trials)
    sweep.acknowledged = _Told(told)  # type: ignore[assignment]
    sweep.run(KillAt(step, how))


@pytest.mark.parametrize(("how", "code"), [("exit", 9), ("sigkill", -9)])
def test_process_killed_for_real_leaves_all_it_acknowledged_and_no_lock(
    tmp_path: Path, whole: Path, how: str, code: int
) -> None:
    steps = steps_of_a_sweep(tmp_path / "probe")
    spawn = multiprocessing.get_context("spawn")
    for kind in ("commit: before fsync", "curves part: before rename", "segment: before folder fsync"):
        root, told = tmp_path / kind, tmp_path / "told"
        places = [i for i, name in enumerate(steps) if name == kind]
        step = places[len(places) // 2]
        child = spawn.Process(target=sweep_and_die, args=(root, TRIALS, told, step, how))
        child.start()
        child.join(60)
        assert child.exitcode == code
        Ledger.open(root).close()
        acknowledged = {(trial_id, int(epoch)) for trial_id, epoch in map(str.split, told.open())}
        assert acknowledged <= set(keys(root))
        assert len(keys(root)) == len(set(keys(root)))
        assert acknowledged
        assert not MetaDatasetReader(root).unpublished_rows()
        check_completion(Sweep(root, TRIALS), whole)
        told.unlink()
