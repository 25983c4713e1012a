"""A mirror lags and fails as it likes: it never shows what the root did not, and the sweep never waits."""

import contextlib
import json
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from pyarrow import fs

from orchestrator.contracts import InputError, Trial
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.ledger import Ledger
from orchestrator.metadataset.mirror import Mirror, MirrorState
from orchestrator.metadataset.mirror_target import INDEX_NAME, MirrorTarget
from orchestrator.metadataset.verify import compare, verify
from tests.orchestrator.metadataset.records import EPOCHS, CrashAt, Sweep, a_trial
from tests.support.s3 import CREDENTIALS, HOW_TO_INSTALL, MOTO, Way, s3_server

TRIALS = [a_trial(index) for index in range(12)]
SOON_S = 0.02


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    (root / "sweep.yaml").write_text("name: small\n")
    (root / "space.json").write_text("{}")
    return root


def run(root: Path, trials: list[Trial]) -> None:
    Sweep(root, trials, seal_rows=7).run(CrashAt(None))


def shown(root: Path) -> dict[str, bytes]:
    """What a mirror should hold of a root."""
    layout = RootLayout(root)
    tables = ("attempts", "tasks", "curves", "trials")
    paths = [path for table in tables for path in layout.parts(table).values()]
    paths += [layout.sweep_yaml, layout.space_json]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


class Bucket:
    """Where a test's mirror is, and how a reader sees it."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.store, self.base = fs.FileSystem.from_uri(uri)

    def holds(self) -> dict[str, bytes]:
        found = self.store.get_file_info(fs.FileSelector(self.base, recursive=True, allow_not_found=True))
        files = [info.path for info in found if info.type == fs.FileType.File]
        contents = {path[len(self.base) + 1 :]: self.store.open_input_file(path).read() for path in files}
        contents.pop(INDEX_NAME, None)
        return contents

    def put(self, name: str, content: bytes) -> None:
        self.store.create_dir(f"{self.base}/{Path(name).parent}")
        with self.store.open_output_stream(f"{self.base}/{name}") as sink:
            sink.write(content)

    def frame(self, table: str, columns: list[str]) -> pd.DataFrame:
        rows = ds.dataset(f"{self.base}/{table}", filesystem=self.store).to_table(columns)
        return pd.DataFrame(rows.to_pydict(), columns=columns)


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    if not MOTO.exists():
        pytest.skip(HOW_TO_INSTALL)
    with s3_server() as port:
        yield port


@pytest.fixture
def way(server: int) -> Iterator[Way]:
    way = Way(server)
    yield way
    way.close()


@pytest.fixture
def s3(way: Way, server: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    name = f"bucket-{abs(hash(tmp_path)):x}"
    store = fs.S3FileSystem(
        endpoint_override=f"127.0.0.1:{server}", scheme="http", region="us-east-1", allow_bucket_creation=True
    )
    store.create_dir(name)
    options = f"endpoint_override=127.0.0.1:{way.port}&scheme=http&region=us-east-1"
    return Bucket(f"s3://{name}/some/prefix?{options}")


@pytest.fixture(params=["file", "s3"])
def bucket(request: pytest.FixtureRequest, tmp_path: Path) -> Bucket:
    if request.param == "s3":
        found: Bucket = request.getfixturevalue("s3")
        return found
    return Bucket((tmp_path / "a mirror with 'quotes'").as_uri())


def wait_for(mirror: Mirror, wanted: str, limit_s: float = 30.0) -> MirrorState:
    """Notice until the mirror's state is as wanted."""
    tests = {
        "level": lambda state: not state.behind_files and not state.last_error,
        "failing": lambda state: state.last_error is not None,
    }
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        mirror.notice()
        if tests[wanted](state := mirror.state()):
            return state
        time.sleep(0.02)
    raise AssertionError(f"not {wanted} within {limit_s} s: {mirror.state()}")


def mirrored(uri: str, root: Path, timeout_s: float = 30.0) -> MirrorState:
    """Open a mirror, close it, and return how it was left."""
    return Mirror.open(uri, RootLayout(root)).close(timeout_s)


def test_mirror_of_a_root_at_rest_holds_its_files_and_nothing_else(root: Path, bucket: Bucket) -> None:
    run(root, TRIALS)
    state = mirrored(bucket.uri, root)
    assert (state.behind_files, state.last_error) == (0, None)
    assert bucket.holds() == shown(root)
    assert state.uploaded_bytes == sum(map(len, shown(root).values()))


def test_mirror_of_a_running_sweep_follows_and_uploads_sealed_parts_once(
    root: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads: list[str] = []
    put = MirrorTarget.put

    def counted(self: MirrorTarget, name: str, content: bytes) -> None:
        uploads.append(name)
        put(self, name, content)

    monkeypatch.setattr(MirrorTarget, "put", counted)
    mirror = Mirror.open(bucket.uri, RootLayout(root), interval_s=SOON_S)
    for count in range(1, len(TRIALS) + 1):
        run(root, TRIALS[:count])
        # The state is as of the mirror's last look, which may have been before that.
        while bucket.holds() != shown(root):
            mirror.notice()
            time.sleep(0.02)
    uploads.clear()
    run(root, TRIALS)
    mirror.close(30)
    assert bucket.holds() == shown(root)
    assert {Path(name).name for name in uploads} <= {max(shown(root)).rsplit("/")[-1], "index.json"}


def test_reader_of_the_mirror_sees_whole_curves_while_a_ledger_writes_and_publishes(
    root: Path, bucket: Bucket
) -> None:
    trials = [a_trial(index) for index in range(400)]
    writer = threading.Thread(target=lambda: Sweep(root, trials, seal_rows=40).run(CrashAt(None)))
    mirror = Mirror.open(bucket.uri, RootLayout(root), interval_s=SOON_S)
    reads = refused = 0
    seen: list[tuple[str, int]] = []
    writer.start()
    while writer.is_alive():
        mirror.notice()
        try:
            finished = bucket.frame("trials", ["trial_id", "epochs"])
            curves = bucket.frame("curves", ["trial_id", "epoch"])
            granted = bucket.frame("_ledger/attempts", ["trial_id"])
        except (pa.ArrowInvalid, OSError):
            # Not there yet, or replaced between the question for its size and for its footer.
            refused += reads > 0
            continue
        reads += 1
        points = list(zip(curves["trial_id"], curves["epoch"], strict=True))
        assert points[: len(seen)] == seen
        seen = points
        for trial_id, epochs in curves.groupby("trial_id")["epoch"]:
            assert list(epochs) == list(range(1, len(epochs) + 1)), trial_id
        lengths = Counter(curves["trial_id"])
        assert {t: lengths[t] for t in finished["trial_id"]} == dict(
            zip(finished["trial_id"], finished["epochs"], strict=True)
        )
        assert set(curves["trial_id"]) <= set(granted["trial_id"])
    writer.join()
    assert mirror.close(30).behind_files == 0
    assert reads > 3
    assert refused == 0 or bucket.uri.startswith("s3")
    assert len(bucket.frame("curves", ["epoch"])) == len(trials) * EPOCHS


def test_copy_of_the_mirror_is_certified_and_holds_the_same_results(
    root: Path, bucket: Bucket, tmp_path: Path
) -> None:
    run(root, TRIALS)
    mirrored(bucket.uri, root)
    copy = tmp_path / "copy"
    for name, content in bucket.holds().items():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes(content)
    for certificate in (
        verify(copy, planned={trial.trial_id: trial.max_epochs for trial in TRIALS}),
        compare(copy, root),
    ):
        assert certificate.ok, certificate.render()
    # And it can be gone on with: a ledger opens it, a mirror knows it again.
    more = [*TRIALS, a_trial(20)]
    run(copy, more)
    assert mirrored(bucket.uri, copy).behind_files == 0
    assert bucket.holds() == shown(copy)


def test_second_mirror_of_a_root_uploads_only_what_is_new(root: Path, bucket: Bucket) -> None:
    run(root, TRIALS[:6])
    mirrored(bucket.uri, root)
    assert mirrored(bucket.uri, root).uploaded_bytes == 0
    before = shown(root)
    run(root, TRIALS)
    state = mirrored(bucket.uri, root)
    new = {name: content for name, content in shown(root).items() if before.get(name) != content}
    assert state.uploaded_bytes == sum(map(len, new.values()))
    assert bucket.holds() == shown(root)


def test_object_of_another_size_or_gone_is_brought_again_and_strange_ones_are_left(
    root: Path, bucket: Bucket
) -> None:
    run(root, TRIALS)
    mirrored(bucket.uri, root)
    bucket.put("curves/part-000000.parquet", b"spoilt")
    bucket.store.delete_file(f"{bucket.base}/trials/part-000001.parquet")
    bucket.put("notes/mine.txt", b"mine")
    mirrored(bucket.uri, root)
    assert bucket.holds() == shown(root) | {"notes/mine.txt": b"mine"}


def test_part_replaced_by_one_of_the_same_size_and_stamp_is_brought_by_the_last_sync(
    root: Path, bucket: Bucket
) -> None:
    run(root, TRIALS)
    mirror = Mirror.open(bucket.uri, RootLayout(root), interval_s=SOON_S)
    wait_for(mirror, "level")
    found = root.joinpath("sweep.yaml").stat()
    (root / "sweep.yaml").write_text("name: SMALL\n")
    os.utime(root / "sweep.yaml", ns=(found.st_atime_ns, found.st_mtime_ns))
    mirror.close(30)
    assert bucket.holds()["sweep.yaml"] == b"name: SMALL\n"


def test_store_that_is_down_for_a_while_costs_nothing_but_time(root: Path, s3: Bucket, way: Way) -> None:
    with Ledger.open(root):
        pass
    mirror = Mirror.open(s3.uri, RootLayout(root), interval_s=SOON_S)
    wait_for(mirror, "level")
    way.cut()
    begun = time.monotonic()
    run(root, TRIALS)
    wrote_s = time.monotonic() - begun
    state = wait_for(mirror, "failing", 60)
    assert 0 < state.behind_files <= len(shown(root))
    assert 0 < state.behind_s < time.monotonic() - begun + 0.1
    assert set(state.missing) <= set(shown(root))
    assert wrote_s < 10
    way.mend()
    wait_for(mirror, "level", 60)
    assert s3.holds() == shown(root)
    assert mirror.close(30).behind_files == 0


def test_store_that_stays_down_is_told_when_the_mirror_is_closed_and_caught_up_with_later(
    root: Path, s3: Bucket, way: Way
) -> None:
    mirror = Mirror.open(s3.uri, RootLayout(root), interval_s=SOON_S)
    wait_for(mirror, "level")
    way.cut()
    run(root, TRIALS)
    begun = time.monotonic()
    state = mirror.close(1.0)
    assert time.monotonic() - begun < 3
    assert state.behind_files == len(shown(root)) - 2
    assert "curves/part-000000.parquet" in state.missing
    assert f"lacks {state.behind_files} files" in state.render()
    assert "`foretune resume` with the same --mirror continues" in state.render()
    way.mend()
    mirror = Mirror.open(s3.uri, RootLayout(root), interval_s=SOON_S)
    assert wait_for(mirror, "level").render() == "the mirror is up to date"
    assert s3.holds() == shown(root)
    way.cut()
    (root / "sweep.yaml").write_text("name: changed\n")
    assert mirror.close(1.0).missing == ("sweep.yaml",)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_thread_that_dies_of_our_own_fault_is_told(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = Mirror.open((tmp_path / "mirror").as_uri(), RootLayout(root), interval_s=SOON_S)
    wait_for(mirror, "level")
    monkeypatch.setattr(MirrorTarget, "put", None)
    (root / "sweep.yaml").write_text("name: changed\n")
    assert "its thread has died" in wait_for(mirror, "failing").render()
    assert "its thread has died" in mirror.close(1.0).render()


@pytest.mark.slow
def test_store_that_never_answers_keeps_neither_the_driver_nor_its_process(
    root: Path, s3: Bucket, way: Way
) -> None:
    run(root, TRIALS)
    program = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        from orchestrator.metadataset.layout import RootLayout
        from orchestrator.metadataset.mirror import Mirror
        mirror = Mirror.open(sys.argv[1], RootLayout(Path(sys.argv[2])), interval_s=0.1)
        while mirror.state().behind_files or not mirror.state().uploaded_bytes:
            time.sleep(0.05)
        print("open", flush=True)
        sys.stdin.readline()
        Path(sys.argv[2], "sweep.yaml").write_text("name: another")
        begun = time.monotonic()
        for _ in range(1000):
            mirror.notice()
            mirror.state()
        mid = time.monotonic()
        state = mirror.close(1.0)
        print(mid - begun, time.monotonic() - mid, state.render(), sep="|", flush=True)
        """
    )
    command = [sys.executable, "-c", program, s3.uri, str(root)]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process,
        contextlib.ExitStack() as end,
    ):
        end.callback(process.kill)
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        way.block()
        process.stdin.write("\n")
        process.stdin.flush()
        notices_s, close_s, report = process.stdout.readline().split("|")
        assert float(notices_s) < 0.5
        assert float(close_s) < 2.0
        assert "not done within 1 s" in report
        assert "sweep.yaml" in report
        ended = time.monotonic()
        assert process.wait(60) == 0
        # The one request that was in hand; pyarrow by itself kept trying it for 99 s.
        assert time.monotonic() - ended < 45


def test_write_that_is_refused_half_way_keeps_the_order_and_is_tried_again(
    root: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(root, TRIALS)
    put = MirrorTarget.put
    refusals = 3

    def moody(self: MirrorTarget, name: str, content: bytes) -> None:
        nonlocal refusals
        if name.startswith("curves/") and refusals:
            refusals -= 1
            raise OSError("slow down")
        put(self, name, content)

    monkeypatch.setattr(MirrorTarget, "put", moody)
    mirror = Mirror.open(bucket.uri, RootLayout(root), interval_s=SOON_S)
    failing = wait_for(mirror, "failing")
    assert failing.last_error == "slow down"
    assert not any(name.startswith(("curves/", "trials/")) for name in bucket.holds())
    wait_for(mirror, "level")
    mirror.close(30)
    assert bucket.holds() == shown(root)


def test_tries_of_a_failing_store_become_rarer(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(root, TRIALS)
    tries: list[float] = []

    def refuse(self: MirrorTarget, name: str, content: bytes) -> None:
        tries.append(time.monotonic())
        raise OSError("no")

    mirror = Mirror.open((tmp_path / "mirror").as_uri(), RootLayout(root), interval_s=0.05)
    monkeypatch.setattr(MirrorTarget, "put", refuse)
    (root / "sweep.yaml").write_text("name: other\n")
    until = time.monotonic() + 2.0
    while time.monotonic() < until:
        mirror.notice()
        time.sleep(0.01)
    monkeypatch.undo()
    assert mirror.close(30).behind_files == 0
    # 0.05 s doubled each time: 0.1, 0.2, 0.4, 0.8 and 1.6 s apart.
    assert 3 <= len(tries) <= 6
    gaps = [later - earlier for earlier, later in pairwise(tries)]
    assert all(later > earlier for earlier, later in pairwise(gaps))


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("bucket/prefix", "must be s3://BUCKET/PREFIX"),
        ("/somewhere", "must be s3://BUCKET/PREFIX"),
        ("hdfs://host/x", "must be s3://BUCKET/PREFIX"),
        ("s3://", "must name a bucket or a folder"),
        ("s3://bucket/p?nope=1", "Unexpected query parameter"),
        ("file:///tmp/a b", "a space is written %20"),
    ],
)
def test_uri_that_can_not_be_used_is_refused_with_the_reason(root: Path, uri: str, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        Mirror.open(uri, RootLayout(root))
    assert reason in str(caught.value)


def test_place_that_can_not_be_written_is_refused(root: Path, s3: Bucket, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for uri in (f"file://{tmp_path}/file/mirror", s3.uri.replace("s3://bucket-", "s3://no-bucket-")):
        with pytest.raises(InputError, match=r"can't be written: .*; check its name"):
            Mirror.open(uri, RootLayout(root))


def test_secret_in_a_uri_is_not_repeated(root: Path) -> None:
    with pytest.raises(InputError) as caught:
        Mirror.open("s3://key:secret@bucket/p?nope=1", RootLayout(root))
    assert "secret" not in str(caught.value)
    assert "s3://bucket/p" in str(caught.value)


def test_files_of_another_sweep_or_person_are_not_overwritten(
    root: Path, bucket: Bucket, tmp_path: Path
) -> None:
    run(root, TRIALS[:1])
    bucket.put("trials/part-000000.parquet", b"mine")
    with pytest.raises(InputError, match="holds trials, which no mirror put there; choose an empty prefix"):
        Mirror.open(bucket.uri, RootLayout(root))
    assert bucket.holds() == {"trials/part-000000.parquet": b"mine"}
    elsewhere = replace_prefix(bucket)
    mirrored(elsewhere.uri, root)
    other = tmp_path / "other"
    run(other, [replace(TRIALS[0], seed=8)])
    with pytest.raises(InputError, match="is the mirror of another sweep"):
        Mirror.open(elsewhere.uri, RootLayout(other))
    assert elsewhere.holds() == shown(root)


def replace_prefix(bucket: Bucket) -> Bucket:
    path, *options = bucket.uri.split("?")
    return Bucket("?".join([f"{path}/elsewhere", *options]))


@pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps({"version": 9, "birth": None, "files": {}})])
def test_index_that_is_not_ours_is_refused(root: Path, tmp_path: Path, text: str) -> None:
    index = tmp_path / "mirror" / INDEX_NAME
    index.parent.mkdir(parents=True)
    index.write_text(text)
    with pytest.raises(InputError, match="choose an empty prefix"):
        Mirror.open((tmp_path / "mirror").as_uri(), RootLayout(root))


def test_sync_cut_anywhere_by_the_death_of_its_process_is_made_good_by_the_next(
    root: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dead process uploaded so many objects and no index of them."""
    run(root, TRIALS[:6])
    put = MirrorTarget.put
    for alive in (1, 3, 6):
        left = alive

        def dying(self: MirrorTarget, name: str, content: bytes) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise OSError("the process is dead")
            put(self, name, content)

        with monkeypatch.context() as patched:
            patched.setattr(MirrorTarget, "put", dying)
            Mirror.open(bucket.uri, RootLayout(root)).close(1.0)
        run(root, TRIALS[: 6 + alive])
    assert mirrored(bucket.uri, root).behind_files == 0
    assert bucket.holds() == shown(root)
