import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.doctor import Status
from cluster.doctor.finding import size
from cluster.doctor.machine import (
    cpus,
    disk,
    memory_found,
    open_files,
    shared_memory,
    temporary_folder,
    threads,
)
from tests.support.disk import small_disk
from tests.support.kernel import GIB, limit, made_up


def test_batch_jobs_share_of_a_machine_is_told_with_what_ray_would_count(tmp_path: Path) -> None:
    kernel = made_up(tmp_path, groups="0::/slurm/job_7\n")
    limit(kernel, "slurm/job_7", {"cpu.max": "400000 100000"})
    found = cpus(kernel, counted=64, bound_to=64)
    assert found.status is Status.WARNING
    assert "4 of 64 cores" in found.found
    assert "ray start --num-cpus=4" in (found.advice or "")


def test_cores_a_process_is_not_bound_to_are_not_counted_on(tmp_path: Path) -> None:
    found = cpus(made_up(tmp_path), counted=64, bound_to=8)
    assert found.status is Status.WARNING
    assert "8 of 64 cores may be used (bound to 8)" in found.found


def test_quota_of_a_container_is_no_trouble_as_ray_reads_it(tmp_path: Path) -> None:
    kernel = made_up(tmp_path, groups="0::/\n")
    limit(kernel, "", {"cpu.max": "400000 100000"})
    found = cpus(kernel, counted=64, bound_to=64)
    assert found.status is Status.OK
    assert "4 of 64 cores" in found.found


def test_this_machine_has_cores(tmp_path: Path) -> None:
    assert cpus(made_up(tmp_path)).status is not Status.FAILED


@given(
    quota=st.floats(0.01, 200).map(lambda quota: round(quota, 2)),
    counted=st.integers(1, 128),
    bound_to=st.integers(1, 128),
)
def test_more_cores_are_never_told_than_any_limit_allows(quota: float, counted: int, bound_to: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        kernel = made_up(Path(name), groups="0::/job\n")
        limit(kernel, "job", {"cpu.max": f"{round(quota * 100_000)} 100000"})
        found = cpus(kernel, counted=counted, bound_to=min(bound_to, counted))
        told = float(found.found.split()[0])
        assert told <= min(quota, bound_to, counted) + 1e-3 * quota


@pytest.mark.parametrize(
    ("given_", "status", "said"),
    [
        (None, Status.OK, "not set"),
        ("4", Status.OK, "4"),
        ("4,2", Status.OK, "4,2"),
        ("64", Status.WARNING, "64 threads on 4 cores"),
        ("all", Status.WARNING, "'all' is no number"),
        ("0", Status.WARNING, "'0' is no number"),
    ],
)
def test_threads_are_held_against_the_cores(given_: str | None, status: Status, said: str) -> None:
    found = threads({} if given_ is None else {"OMP_NUM_THREADS": given_}, cores=4)
    assert found.status is status
    assert said in found.found


def test_container_with_little_memory_is_told_what_ray_and_a_worker_take(tmp_path: Path) -> None:
    kernel = made_up(tmp_path, groups="0::/\n")
    limit(kernel, "", {"memory.max": GIB, "memory.current": 0})
    found = memory_found(kernel)
    assert found.status is Status.WARNING
    assert found.found == "1.0 GiB available of 1.0 GiB (limit of the control group)"
    assert "1.5 GiB" in (found.advice or "")


def test_memory_that_is_nearly_used_up_is_where_ray_would_kill(tmp_path: Path) -> None:
    found = memory_found(made_up(tmp_path, total=256 * GIB, available=16 * GIB))
    assert found.status is Status.WARNING
    assert "Ray kills workers" in (found.advice or "")


def test_dockers_64_mib_of_shared_memory_are_too_few(tmp_path: Path) -> None:
    with small_disk(tmp_path / "shm", 64 * 2**20) as shm:
        if shm is None:
            pytest.skip("no one may mount here")
        found = shared_memory(shm.outside)
    assert found.status is Status.WARNING
    assert "64 MiB free; an object store of ours takes 128 MiB" in found.found
    assert "--shm-size" in (found.advice or "")


def test_full_disk_and_one_without_room_for_files_fail(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 2**20) as full:
        if full is None:
            pytest.skip("no one may mount here")
        full.fill()
        found = disk("disk", full.outside / "root", wanted_for="x")
    assert found.status is Status.FAILED
    assert found.found.startswith("0 MiB free of 1 MiB")


def test_folder_that_cannot_be_written_fails(tmp_path: Path) -> None:
    """Asked as an ordinary user: root may write anywhere."""
    code = (
        "import os, sys; from pathlib import Path; from cluster.doctor.machine import disk\n"
        "if os.getuid() == 0: os.setuid(65534)\n"
        "print(disk('disk', Path('/sys/kernel/x') , wanted_for='curves'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Status.FAILED" in done.stdout
    assert "/sys/kernel/x can't be written" in done.stdout


def test_folder_that_is_not_there_is_judged_by_the_nearest_that_is(tmp_path: Path) -> None:
    assert disk("disk", tmp_path / "a" / "b", wanted_for="x").status in (Status.OK, Status.WARNING)
    assert not (tmp_path / "a").exists()


@given(length=st.integers(1, 100))
def test_temporary_folder_is_refused_just_where_sockets_have_too_long_a_path(length: int) -> None:
    place = "/" + "t" * (length - 1)
    # Ray's own naming, its longest process id and a second store on the node.
    socket = f"{place.rstrip('/')}/ray/session_2026-11-30_04-10-20_410123_4194304/sockets/plasma_store.1"
    found = temporary_folder({"TMPDIR": place})
    is_named = found.status is Status.FAILED and "paths of sockets" in found.found
    assert is_named == (len(socket) > 107)


def test_rays_own_variable_for_its_folder_goes_before_the_systems(tmp_path: Path) -> None:
    found = temporary_folder({"RAY_TMPDIR": "/tmp", "TMPDIR": str(tmp_path / ("long" * 30))})
    assert "/tmp/ray" in found.found


@pytest.mark.parametrize(
    ("soft", "hard", "status"),
    [
        (1024, 1024, Status.WARNING),
        (1024, 4095, Status.WARNING),
        (1024, 4096, Status.OK),
        (256, 1_048_576, Status.OK),
        (1024, resource.RLIM_INFINITY, Status.OK),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, Status.OK),
    ],
)
def test_open_files_are_judged_by_how_far_ray_can_raise_the_limit(
    soft: int, hard: int, status: Status
) -> None:
    assert open_files((soft, hard)).status is status


def test_low_limit_of_a_real_process_is_found() -> None:
    code = "from cluster.doctor.machine import open_files; print(open_files().status)"
    command = ["sh", "-c", 'ulimit -n 512; exec "$0" -c "$1"', sys.executable, code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ))
    assert done.stdout.strip() == "warning"


@given(size_bytes=st.integers(2**20, 2**50))
def test_sizes_are_told_within_half_of_their_last_digit(size_bytes: int) -> None:
    number, unit = size(size_bytes).split()
    scale, step = (2**20, 1.0) if unit == "MiB" else (2**30, 0.1)
    assert abs(float(number) * scale - size_bytes) <= (step / 2 + 1e-9) * scale
