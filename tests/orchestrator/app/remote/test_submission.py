"""Sweeps submitted to a real cluster: a head and a node as processes of their own, a token between them."""

import io
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from cluster.jobs import Job, JobState
from cluster.local import LocalCluster
from orchestrator.app.remote.submission import exit_code_of, remote_root, remote_status, submission_id
from orchestrator.app.roots import planned_trials
from orchestrator.contracts import InputError
from orchestrator.metadataset.reader import MetaDatasetReader
from orchestrator.metadataset.verify import compare, verify
from tests.cluster.test_jobs import TOKEN, StandIn
from tests.orchestrator.app.remote.test_bundle import write_task

real_cluster = [pytest.mark.ray, pytest.mark.timeout(600)]
QUICK, SLOW, SLOWER, SLOWEST = "rehearsal:0.02", "rehearsal:0.4", "rehearsal:2", "rehearsal:7"
RAYS_PATIENCE_S = 3
"""Between Ray's SIGTERM and its SIGKILL, where nothing else is set."""
CONFIGS, EPOCHS = 4, 3
POINTS = 2 * CONFIGS * EPOCHS


class Person:
    """Types commands in a folder outside the project, with a cluster's token at hand."""

    def __init__(self, folder: Path, cluster: LocalCluster) -> None:
        self.folder = folder
        self.address = cluster.dashboard_url
        self.environment = cluster.environment
        write_task(folder / "data" / "first.jsonl", word="a")
        write_task(folder / "data" / "second.jsonl", word="b")
        # The nodes' python is the one that runs these tests, whatever their PATH says.
        path = f"{Path(sys.executable).parent}:${{PATH}}"
        (folder / "env.yaml").write_text(yaml.safe_dump({"env_vars": {"PATH": path}}))

    def spec(self, base_model: str) -> str:
        content = {
            "name": "submitted",
            "base_model": base_model,
            "tasks": ["data/first.jsonl", {"source": "data/second.jsonl", "name": "other"}],
            "configs": CONFIGS,
            "epochs": EPOCHS,
            "workers": {"max_count": 2},
        }
        name = f"{base_model.partition(':')[2]}.yaml"
        (self.folder / name).write_text(yaml.safe_dump(content))
        return name

    def types(self, *arguments: str | Path, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "orchestrator.cli", *map(str, arguments)],
            cwd=self.folder,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    def submits(self, base_model: str, root: Path, *options: str) -> "subprocess.CompletedProcess[str]":
        where = ("--root", root, "--address", self.address, "--runtime-env", "env.yaml")
        return self.types("submit", self.spec(base_model), *where, *options)

    def asks(self, command: str, root: Path, *options: str) -> "subprocess.CompletedProcess[str]":
        return self.types(command, root, "--address", self.address, *options)


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(nodes=1, cpus_per_node=2, dashboard=True) as made:
        yield made


@pytest.fixture(scope="module")
def person(cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> Person:
    return Person(tmp_path_factory.mktemp("someone's laptop"), cluster)


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared storage")


@pytest.fixture(scope="module")
def quiet(person: Person, storage: Path) -> tuple[Path, str]:
    """A root that a submitted sweep ran to its end in, undisturbed, and what the command printed."""
    done = person.submits(QUICK, storage / "quiet")
    assert done.returncode == 0, done.stdout + done.stderr
    return storage / "quiet", done.stdout


def assert_certified(root: Path, *, like: Path | None = None) -> None:
    certificate = verify(root, planned=planned_trials(root))
    assert certificate.ok, certificate.render()
    reader = MetaDatasetReader(root)
    assert (len(reader.curves()), len(reader.trials())) == (POINTS, 2 * CONFIGS)
    if like is not None:
        comparison = compare(root, like)
        assert comparison.ok, comparison.render()


def wait_until(happened: Callable[[], bool], complaint: str) -> None:
    deadline_s = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline_s, complaint
        time.sleep(0.2)


def wait_for_points(root: Path, count: int) -> None:
    wait_until(
        lambda: root.exists() and len(MetaDatasetReader(root).curves()) >= count,
        "the submitted sweep measures nothing",
    )


def events_of(root: Path) -> list[str]:
    return list(MetaDatasetReader(root).attempts()["event"])


class TestOnARealCluster:
    pytestmark = real_cluster

    def test_submitted_sweep_runs_to_its_end_and_is_certified(
        self, person: Person, quiet: tuple[Path, str]
    ) -> None:
        root, printed = quiet
        assert_certified(root)
        assert set(MetaDatasetReader(root).trials()["task_name"]) == {"first", "other"}
        job_id = submission_id("submitted", str(root))
        assert f"Submitted as job {job_id}" in printed
        assert f"foretune stop '{root}' --address {person.address}" in printed
        assert "8/8 trials" in printed
        assert f"Job {job_id} has ended: done." in printed
        assert person.types("verify", root).returncode == 0

    def test_submitting_a_done_sweep_again_changes_nothing(
        self, person: Person, quiet: tuple[Path, str]
    ) -> None:
        root, _ = quiet
        before = {path: path.read_bytes() for path in root.rglob("part-*.parquet")}
        done = person.submits(QUICK, root, "--json")
        facts = json.loads(done.stdout)
        assert (done.returncode, facts["state"], facts["is_new"]) == (0, "SUCCEEDED", True)
        assert {path: path.read_bytes() for path in root.rglob("part-*.parquet")} == before
        # Its log begins anew under the old id.
        log = person.asks("logs", root).stdout
        assert log.count("Running entrypoint") == 1
        assert "Done: 8 trials" in log

    @pytest.mark.parametrize(
        "token",
        [{"RAY_AUTH_TOKEN_PATH": "/nowhere"}, {"RAY_AUTH_TOKEN": "another" * 5}],
        ids=["none", "wrong"],
    )
    def test_without_the_token_nothing_is_submitted_and_one_sentence_says_so(
        self, person: Person, storage: Path, token: dict[str, str]
    ) -> None:
        where = ("--root", storage / "refused", "--address", person.address)
        done = person.types("submit", person.spec(QUICK), *where, HOME=str(person.folder), **token)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"foretune: the Ray cluster at {person.address} refuses")
        assert len(done.stderr.splitlines()) == 1
        assert not (storage / "refused").exists()

    def test_stopped_sweep_drains_and_submitting_again_finishes_it(
        self, person: Person, storage: Path, quiet: tuple[Path, str]
    ) -> None:
        root = storage / "stopped"
        first = json.loads(person.submits(SLOWER, root, "--no-follow", "--json").stdout)
        wait_for_points(root, 2)
        second = json.loads(person.submits(SLOWER, root, "--no-follow", "--json").stdout)
        assert (first["is_new"], second["is_new"]) == (True, False)
        assert second["job_id"] == first["job_id"]

        stopped = person.asks("stop", root, "--json")
        assert stopped.returncode == 0, stopped.stderr
        assert json.loads(stopped.stdout) == {"root": str(root), "was_at_work": True, "has_let_go": True}
        # Each attempt was let go of: paused after the epoch in hand or, if that was its last, finished.
        events = Counter(events_of(root))
        assert events["paused"] + events["finished"] == events["granted"]
        assert events["lost"] == 0
        assert len(MetaDatasetReader(root).curves()) < POINTS
        # Following a job that was stopped says that there is more to do.
        assert person.asks("watch", root).returncode == 3

        assert person.submits(SLOWER, root).returncode == 0
        assert_certified(root, like=quiet[0])

    @pytest.mark.slow
    def test_epoch_longer_than_rays_patience_is_drained_all_the_same(
        self, person: Person, storage: Path
    ) -> None:
        root = storage / "patient"
        assert person.submits(SLOWEST, root, "--no-follow").returncode == 0
        wait_until(lambda: root.exists() and "granted" in events_of(root), "no trial is begun")
        began_s = time.monotonic()
        assert person.asks("stop", root).returncode == 0
        assert time.monotonic() - began_s > RAYS_PATIENCE_S
        assert len(MetaDatasetReader(root).curves()) == 2
        assert events_of(root).count("paused") == 2
        assert "lost" not in events_of(root)

    def test_sweep_that_loses_its_node_ends_certified_on_another(
        self, cluster: LocalCluster, person: Person, storage: Path, quiet: tuple[Path, str]
    ) -> None:
        root = storage / "bereaved"
        assert person.submits(SLOW, root, "--no-follow").returncode == 0
        wait_for_points(root, 2)
        cluster.kill_node(cluster.nodes[0])
        cluster.add_node()
        ended = person.asks("watch", root)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert_certified(root, like=quiet[0])
        assert "lost" in events_of(root)

    def test_root_that_nothing_was_submitted_to_is_refused(self, person: Person, storage: Path) -> None:
        done = person.asks("logs", storage / "never")
        assert done.returncode == 2
        assert "knows no job for" in done.stderr


@given(st.text("ab/.", min_size=1))
def test_root_has_one_spelling(tail: str) -> None:
    spelled = remote_root("/" + tail)
    assert remote_root(spelled) == spelled
    assert os.path.isabs(spelled)
    assert remote_root(f"{spelled}//x/..") == spelled


def test_relative_root_is_refused_with_the_value() -> None:
    with pytest.raises(InputError, match=r"absolute path; got 'runs/a'"):
        remote_root("runs/a")


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["/x", "/y", "/x/z"])), unique=True))
def test_sweeps_and_roots_that_differ_have_jobs_that_differ(pairs: list[tuple[str, str]]) -> None:
    assert len({submission_id(name, root) for name, root in pairs}) == len(pairs)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    server = StandIn().start()
    yield server
    server.stop()


def test_remote_status_is_the_jobs_state_and_the_last_thing_it_printed(stand_in: StandIn) -> None:
    stand_in.log = "0/8 trials\n3/8 trials, 9 points\n\n"
    stand_in.message = "Job is currently running.\nand more"
    facts = remote_status(stand_in.address, "/shared//root").as_dict()
    assert (facts["root"], facts["state"], facts["message"], facts["last_line"]) == (
        "/shared/root",
        "RUNNING",
        "Job is currently running.",
        "3/8 trials, 9 points",
    )
    console = Console(file=io.StringIO(), width=100)
    console.print(remote_status(stand_in.address, "/shared/root").render())
    assert isinstance(console.file, io.StringIO)
    assert "3/8 trials" in console.file.getvalue()


def test_remote_status_is_known_though_the_node_with_the_log_is_gone(stand_in: StandIn) -> None:
    stand_in.state = "FAILED"
    stand_in.answers["/api/jobs/j/logs"] = web.Response(status=500, text="no such node")
    status = remote_status(stand_in.address, "/shared/root")
    assert (status.state, status.last_line) == ("FAILED", "")


def a_job(**changes: Any) -> Job:
    fields: dict[str, Any] = {
        "job_id": "j",
        "state": JobState.FAILED,
        "message": "",
        "error_type": "",
        "exit_code": None,
        "started_ms": 0,
        "metadata": {},
    }
    return Job(**(fields | changes))


@pytest.mark.parametrize(
    ("job", "code"),
    [
        (a_job(state=JobState.SUCCEEDED, exit_code=0), 0),
        (a_job(state=JobState.STOPPED), 3),
        (a_job(exit_code=2), 2),
        (a_job(exit_code=3), 3),
        (a_job(exit_code=137), 3),
        (a_job(exit_code=1), 1),
        (a_job(error_type="RUNTIME_ENV_SETUP_FAILURE"), 2),
        (a_job(error_type="JOB_SUPERVISOR_ACTOR_DIED"), 3),
        (None, 3),
    ],
)
def test_exit_code_says_whether_submitting_again_helps(job: Job | None, code: int) -> None:
    assert exit_code_of(job) == code
