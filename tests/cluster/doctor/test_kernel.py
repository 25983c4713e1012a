import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.doctor.kernel import Kernel, container_cpu_quota, cpu_quota, memory, mount_of
from tests.support.kernel import GIB, limit, made_up

LEVELS = ("", "slice", "slice/job", "slice/job/step")
QUOTAS = st.none() | st.integers(1_000, 6_400_000)


@contextmanager
def machine(groups: str, **sizes: int) -> Iterator[Kernel]:
    with tempfile.TemporaryDirectory() as name:
        yield made_up(Path(name), groups=groups, **sizes)


@given(quotas=st.tuples(*[QUOTAS] * len(LEVELS)))
def test_tightest_quota_on_the_way_up_counts(quotas: tuple[int | None, ...]) -> None:
    with machine("0::/slice/job/step\n") as kernel:
        for level, quota in zip(LEVELS, quotas, strict=True):
            limit(kernel, level, {"cpu.max": f"{'max' if quota is None else quota} 100000"})
        set_ones = [quota / 100_000 for quota in quotas if quota is not None]
        assert cpu_quota(kernel) == min(set_ones, default=None)


def test_group_beside_ours_limits_nothing() -> None:
    with machine("0::/slice/job\n") as kernel:
        limit(kernel, "slice/other", {"cpu.max": "100000 100000", "memory.max": GIB})
        assert cpu_quota(kernel) is None
        told = memory(kernel)
        assert told is not None
        assert not told.is_limited


def test_container_that_sees_only_its_own_group_is_limited_by_it() -> None:
    """With version 1 and no namespace, the way in ``/proc`` is the host's and does not exist inside."""
    with machine("3:cpu,cpuacct:/docker/abc\n2:memory:/docker/abc\n") as kernel:
        limit(kernel, "cpu", {"cpu.cfs_quota_us": 250_000, "cpu.cfs_period_us": 100_000})
        limit(kernel, "memory", {"memory.limit_in_bytes": 4 * GIB, "memory.usage_in_bytes": GIB})
        assert cpu_quota(kernel) == container_cpu_quota(kernel) == 2.5
        told = memory(kernel)
        assert told is not None
        assert (told.total, told.available, told.is_limited) == (4 * GIB, 3 * GIB, True)


def test_quota_of_a_batch_job_is_found_and_is_not_the_containers() -> None:
    with machine("0::/slurm/job_7\n") as kernel:
        limit(kernel, "slurm/job_7", {"cpu.max": "400000 100000"})
        assert cpu_quota(kernel) == 4
        assert container_cpu_quota(kernel) is None


@pytest.mark.parametrize("unlimited", ["max", "9223372036854771712", "-1"])
def test_memory_without_a_limit_is_the_machines(unlimited: str) -> None:
    with machine("0::/\n", total=8 * GIB, available=5 * GIB) as kernel:
        limit(kernel, "", {"memory.max": unlimited, "memory.current": GIB})
        told = memory(kernel)
        assert told is not None
        assert (told.total, told.available, told.is_limited) == (8 * GIB, 5 * GIB, False)


@given(
    total=st.integers(1, 2**40),
    share=st.floats(0, 1),
    limits=st.lists(st.integers(0, 2**41), min_size=2, max_size=2),
    used=st.integers(0, 2**41),
    cached=st.integers(0, 2**41),
)
def test_memory_to_be_had_is_never_more_than_any_limit_leaves(
    total: int, share: float, limits: list[int], used: int, cached: int
) -> None:
    with machine("0::/a\n", total=total * 1024, available=int(total * share) * 1024) as kernel:
        for group, most in zip(("", "a"), limits, strict=True):
            stat = f"inactive_file {cached}\n"
            limit(kernel, group, {"memory.max": most, "memory.current": used, "memory.stat": stat})
        told = memory(kernel)
        assert told is not None
        assert told.total == min(total * 1024, *limits)
        assert 0 <= told.available <= told.total


def test_file_cache_of_a_group_is_memory_to_be_had() -> None:
    with machine("0::/\n") as kernel:
        files = {"memory.max": 10 * GIB, "memory.current": 9 * GIB, "memory.stat": f"inactive_file {8 * GIB}"}
        limit(kernel, "", files)
        told = memory(kernel)
        assert told is not None
        assert told.available == 9 * GIB


def test_system_that_is_not_linux_tells_nothing(tmp_path: Path) -> None:
    nowhere = Kernel(proc=tmp_path / "proc", cgroups=tmp_path / "cgroup")
    assert memory(nowhere) is None
    assert cpu_quota(nowhere) is None
    assert mount_of(tmp_path, nowhere) is None


def write_mounts(kernel: Kernel, *mounts: tuple[str, str, str]) -> None:
    lines = [
        f"{number} 1 8:1 / {point} rw,relatime shared:1 - {kind} device rw,{options}"
        for number, (point, kind, options) in enumerate(mounts)
    ]
    (kernel.proc / "self" / "mountinfo").write_text("\n".join(lines) + "\n")


def test_innermost_mount_counts_and_a_later_hides_an_earlier() -> None:
    with machine("") as kernel:
        write_mounts(
            kernel,
            ("/", "overlay", "lowerdir=/x"),
            ("/data", "ext4", "errors=remount-ro"),
            ("/data", "nfs4", "vers=4.2,local_lock=none"),
            ("/data/own", "xfs", "noquota"),
        )
        kinds = [mount_of(Path(path), kernel) for path in ("/database", "/data/sweep", "/data/own/sweep")]
        assert [mount.kind for mount in kinds if mount] == ["overlay", "nfs4", "xfs"]
        assert kinds[1] is not None
        assert "local_lock=none" in kinds[1].options


@given(name=st.text(st.characters(codec="utf-8", exclude_characters="/\0\r"), min_size=1))
def test_mount_with_any_name_is_found(name: str) -> None:
    escaped = "".join(f"\\{ord(letter):03o}" if letter in " \t\n\\#" else letter for letter in name)
    with machine("") as kernel:
        write_mounts(kernel, ("/", "ext4", "x"), (f"/mnt/{escaped}", "nfs", "x"))
        found = mount_of(Path("/mnt") / name / "sweep", kernel)
        assert found is not None
        assert found.kind == "nfs"
