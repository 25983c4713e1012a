"""A made-up machine: the files in which a kernel would tell about it."""

from collections.abc import Mapping
from pathlib import Path

from cluster.doctor.kernel import Kernel

GIB = 2**30


def made_up(folder: Path, *, groups: str = "", total: int = 64 * GIB, available: int = 32 * GIB) -> Kernel:
    """Return a kernel whose process is in the given control groups; limits are added with ``limit``."""
    kernel = Kernel(proc=folder / "proc", cgroups=folder / "cgroup")
    (kernel.proc / "self").mkdir(parents=True)
    kernel.cgroups.mkdir()
    (kernel.proc / "self" / "cgroup").write_text(groups)
    (kernel.proc / "meminfo").write_text(
        f"MemTotal:  {total // 1024} kB\nMemFree: 1 kB\nMemAvailable: {available // 1024} kB\n"
    )
    return kernel


def limit(kernel: Kernel, group: str, files: Mapping[str, object]) -> None:
    """Write a control group's files."""
    folder = kernel.cgroups / group
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(f"{content}\n")
