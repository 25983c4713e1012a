"""``nvidia-smi`` is a script on PATH here; it answers as the real one does, or in the ways it fails."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.doctor.nvidia import listing

TWO = """\
0, GPU-aa, NVIDIA H100 80GB HBM3, 570.86.15, 81559, 4
1, GPU-bb, NVIDIA GB10, 570.86.15, [N/A], [N/A]
"""

Answer = Callable[[str], None]


@pytest.fixture
def answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answer:
    def write(script: str) -> None:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return write


def test_machine_without_the_program_has_no_gpu_and_no_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert listing() == type(listing())()


def test_gpus_are_listed_also_where_memory_is_not_told(answer: Answer) -> None:
    answer(f"cat <<'END'\n{TWO}END")
    first, second = listing().cards
    assert (first.name, first.driver, first.total_bytes) == (
        "NVIDIA H100 80GB HBM3",
        "570.86.15",
        81559 * 2**20,
    )
    assert (second.index, second.total_bytes, second.used_bytes) == (1, None, None)


@pytest.mark.parametrize(
    ("script", "trouble"),
    [
        (
            "echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18",
            "exit code 18: Failed to initialize NVML: Driver/library version mismatch",
        ),
        ("exit 9", "exit code 9: nothing"),
        ("echo 'No devices were found'", "'No devices were found', which is no GPU"),
    ],
)
def test_what_a_broken_driver_says_is_passed_on(answer: Answer, script: str, trouble: str) -> None:
    answer(script)
    found = listing()
    assert found.cards == ()
    assert trouble in (found.trouble or "")


def test_driver_that_hangs_is_given_up(answer: Answer) -> None:
    answer("exec sleep 60")
    began_s = time.monotonic()
    assert listing(timeout_s=0.5).trouble == "nvidia-smi has not answered for 0.5 s"
    assert time.monotonic() - began_s < 20
