"""The Slurm script really runs; ``srun``, ``scontrol`` and ``hostname`` stand in for a cluster of two nodes.

Its nodes are loopback addresses of this machine. How the job ends (which signal, whether it is requeued) is
tried without Ray: there ``ray`` and ``foretune`` are stand-ins, too, which wait where the real ones work.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from cluster.processes import end_sessions, members
from orchestrator.app.exits import Exit
from orchestrator.app.status import certify

CHECKOUT = Path(__file__).resolve().parents[3]
SCRIPT = CHECKOUT / "cluster" / "deploy" / "slurm.sh"
NETWORK = "127.0.77"

# Options end where the command begins. A node has an address and a folder of its own, as a machine has.
SRUN = f"""
for word; do case $word in --nodelist=*) node=${{word#*=}};; esac; done
echo "$node" >> "$NOTES/steps"
while [ "${{1#--}}" != "$1" ]; do shift; done
if [ "$1" = ray ]; then
  set -- "$@" --object-store-memory=83886080
  [ "$node" = a ] || set -- "$@" --node-ip-address={NETWORK}.2 --temp-dir="$RAY_TMPDIR/$node"
fi
exec "$@"
"""
SCONTROL = """
if [ "$1 $2" = "show hostnames" ]; then printf 'a\\nb\\n'; else echo "$*" >> "$NOTES/scontrol"; fi
"""
RAY_THAT_LISTENS = f"""#!{sys.executable}
import os, socket, sys, time
options = dict(word.split("=", 1) for word in sys.argv if "=" in word)
with open(os.environ["NOTES"] + "/ray", "a") as notes:
    print(*sys.argv[1:], len(os.environ["RAY_AUTH_TOKEN"]), os.environ["RAY_AUTH_MODE"], file=notes)
if "--head" in sys.argv:
    server = socket.create_server((options["--node-ip-address"], int(options["--port"])))
time.sleep(600)
"""
FORETUNE_THAT_WAITS = """
echo "$*" >> "$NOTES/foretune"
[ "$1" = run ] || exit 0
trap 'sleep 0.5; exit 3' TERM
[ -z "$ENDS_WITH" ] || exit "$ENDS_WITH"
for _ in $(seq 600); do sleep 0.1; done
"""

Start = Callable[..., "subprocess.Popen[str]"]


def wait_for(condition: Callable[[], bool], timeout_s: float) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    put(tmp_path, "srun", SRUN)
    put(tmp_path, "scontrol", SCONTROL)
    put(tmp_path, "hostname", f"echo {NETWORK}.1")
    return tmp_path


def put(folder: Path, name: str, code: str) -> None:
    path = folder / "bin" / name
    path.write_text(code if code.startswith("#!") else f"#!/bin/bash\n{code}")
    path.chmod(0o755)


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Start the script as a job's batch shell, which Slurm signals alone; end all that is left of it."""
    started: list[subprocess.Popen[str]] = []
    job_id = str(os.getpid() % 1_000_000)

    def begin(*arguments: str | Path, **variables: str) -> "subprocess.Popen[str]":
        outside = {
            name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "SLURM_"))
        }
        environment = outside | {
            "PATH": os.pathsep.join(
                [str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
            ),
            "PYTHONPATH": str(CHECKOUT),
            "NOTES": str(folder),
            "SLURM_JOB_ID": job_id,
            "SLURM_JOB_NODELIST": "[a-b]",
            "SLURM_CPUS_PER_TASK": "2",
            **variables,
        }
        with open(folder / "slurm.out", "a") as output:
            process = subprocess.Popen(
                ["bash", str(SCRIPT), *map(str, arguments)],
                env=environment,
                cwd=CHECKOUT,
                stdout=output,
                stderr=output,
                text=True,
                start_new_session=True,
            )
        started.append(process)
        return process

    yield begin
    left = {process.pid: members([process.pid]) for process in started}
    end_sessions([process.pid for process in started])
    for process in started:
        process.wait()
    shutil.rmtree(f"/tmp/ft-{job_id}", ignore_errors=True)
    assert not any(left.values()), "the script left processes behind"


def notes(folder: Path, name: str) -> str:
    path = folder / name
    return path.read_text() if path.exists() else ""


def test_script_is_bash_and_says_how_it_is_used(start: Start, folder: Path) -> None:
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)
    assert start("only-one-argument").wait(timeout=30) == Exit.BAD_INPUT
    assert "usage: sbatch slurm.sh SWEEP.yaml ROOT" in notes(folder, "slurm.out")


@pytest.fixture
def waiting(folder: Path) -> Path:
    put(folder, "ray", RAY_THAT_LISTENS)
    put(folder, "foretune", FORETUNE_THAT_WAITS)
    return folder


def test_cluster_is_one_head_and_a_node_a_machine_with_one_token_that_no_command_shows(
    start: Start, waiting: Path
) -> None:
    job = start("sweep.yaml", "/shared/root", ENDS_WITH="")
    wait_for(lambda: len(notes(waiting, "ray").splitlines()) == 2, 30)
    wait_for(lambda: "run sweep.yaml" in notes(waiting, "foretune"), 30)
    job.terminate()
    assert job.wait(timeout=60) == Exit.STOPPED_EARLY
    head, worker = sorted(notes(waiting, "ray").splitlines(), key=lambda line: "--head" not in line)
    assert "--head" in head
    assert f"--address={NETWORK}.1:" in worker
    assert head.endswith(" 64 token")
    assert worker.endswith(" 64 token")
    assert "token=" not in head + worker
    assert notes(waiting, "steps").split() == ["a", "a", "b"]
    assert "doctor --root /shared/root --address" in notes(waiting, "foretune")


@pytest.mark.parametrize(
    ("sent", "requeued"), [(signal.SIGUSR1, True), (signal.SIGTERM, False)], ids=lambda value: str(value)
)
def test_time_limit_drains_and_requeues_and_an_end_that_was_asked_for_only_drains(
    sent: signal.Signals, requeued: bool, start: Start, waiting: Path
) -> None:
    job = start("sweep.yaml", "/shared/root", ENDS_WITH="")
    wait_for(lambda: "run sweep.yaml" in notes(waiting, "foretune"), 30)
    job.send_signal(sent)
    job.send_signal(sent)  # a second does not cut the drain short
    assert job.wait(timeout=60) == Exit.STOPPED_EARLY
    assert ("requeue" in notes(waiting, "scontrol")) is requeued


def test_driver_that_is_told_to_stop_before_it_listens_is_requeued_all_the_same(
    start: Start, waiting: Path
) -> None:
    put(waiting, "foretune", 'echo "$*" >> "$NOTES/foretune"; [ "$1" = doctor ] || exec sleep 600')
    job = start("sweep.yaml", "/shared/root")
    wait_for(lambda: "run sweep.yaml" in notes(waiting, "foretune"), 30)
    job.send_signal(signal.SIGUSR1)
    assert job.wait(timeout=60) == Exit.STOPPED_EARLY
    assert "requeue" in notes(waiting, "scontrol")


@pytest.mark.parametrize("code", [Exit.DONE, Exit.NO, Exit.BAD_INPUT, Exit.STOPPED_EARLY])
def test_driver_that_ends_by_itself_is_not_requeued_and_its_exit_code_is_the_jobs(
    code: int, start: Start, waiting: Path
) -> None:
    assert start("sweep.yaml", "/shared/root", ENDS_WITH=str(int(code))).wait(timeout=60) == code
    assert "requeue" not in notes(waiting, "scontrol")


def test_head_that_does_not_start_ends_the_job_with_the_reason(start: Start, waiting: Path) -> None:
    put(waiting, "ray", "echo no such interface >&2; exit 1")
    assert start("sweep.yaml", "/shared/root").wait(timeout=60) == 1
    assert "no such interface" in notes(waiting, "slurm.out")
    assert "Ray's head did not start on a" in notes(waiting, "slurm.out")
    assert "run" not in notes(waiting, "foretune")


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_sweep_that_reached_its_time_limit_goes_on_when_the_job_comes_back(
    start: Start, folder: Path
) -> None:
    put(folder, "foretune", f'exec "{sys.executable}" -m orchestrator.cli "$@"')
    root = folder / "root"
    spec = CHECKOUT / "examples" / "rehearsal.yaml"
    job = start(spec, root)
    wait_for(lambda: (root / "curves").is_dir() and len(pd.read_parquet(root / "curves")) > 20, 150)
    job.send_signal(signal.SIGUSR1)
    assert job.wait(timeout=90) == Exit.STOPPED_EARLY, notes(folder, "slurm.out")
    before = len(pd.read_parquet(root / "curves"))
    assert "requeue" in notes(folder, "scontrol")
    assert members([job.pid]) == []

    assert start(spec, root, SLURM_RESTART_COUNT="1").wait(timeout=200) == Exit.DONE, notes(
        folder, "slurm.out"
    )
    (certificate,) = certify(root, None)
    assert certificate.ok, certificate.render()
    assert 20 < before < len(pd.read_parquet(root / "curves")) == 40 * 10
    said = notes(folder, "slurm.out")
    assert "Stopped before the end" in said
    assert "Done: 40 trials" in said
    assert f"{NETWORK}.1:" in said.partition("Ray cluster")[2]  # the doctor's word
    assert f"Local node IP\x1b[39m: \x1b[1m{NETWORK}.2" in said
